"""Applications as a file: sources, tasks and MQTT in an app.toml."""

from edgeml.app._app import App, load_app
from edgeml.app._config import AppConfig, SourceConfig, TaskConfig, read_config

__all__ = ["App", "AppConfig", "SourceConfig", "TaskConfig", "load_app", "read_config"]
