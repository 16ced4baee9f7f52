"""PLACEHOLDER."""

if __name__ != "edgeml.devices":
    raise ImportError("import edgeml.devices, not devices: the folder at the top is reached by a link")
