"""The dataset: where its elements come from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import ArrayLike

from edgeml.data._columns import Columns, Layout, Name
from edgeml.data._live import Live
from edgeml.data._open import MAX_BYTES
from edgeml.data._operations import Operations
from edgeml.data._origin import Origin, column, to_ns
from edgeml.data._parts import Parts
from edgeml.data._structure import columns_of

if TYPE_CHECKING:
    from edgeml.data._folder import Folder

Path = str | os.PathLike[str]


class Dataset(Operations, Parts, Live):
    """Elements that are read when they are needed, again in each pass.

    An element is an array, a tuple ``(x, y)`` or ``(x, y, sample_weight)``, or a dict of
    arrays. Each ``for`` starts afresh and is one epoch; ``async for`` does the same with the
    work in a thread. Nothing but what a step holds is in memory: a dataset may be larger.

    Example:
        >>> import numpy as np
        >>> data = Dataset.from_arrays(np.arange(6.0).reshape(3, 2), [0, 1, 0])
        >>> for x, y in data.map(lambda x, y: (x * 10, y)).batch(2):
        ...     print(x.tolist(), y.tolist())
        [[0.0, 10.0], [20.0, 30.0]] [0, 1]
        [[40.0, 50.0]] [0]
    """

    @staticmethod
    def from_arrays(
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        sources: ArrayLike | None = None,
        times: ArrayLike | None = None,
        durations: ArrayLike | None = None,
    ) -> Dataset:
        """Make a dataset of arrays, one element a row of their first axis.

        Args:
            x: An array, or a tuple or dict of arrays; memory maps are read as needed.
            y: Labels.
            sample_weight: Weight of each row.
            sources: Where each row comes from, such as a subject or a device.
            times: Start of each row, seconds or datetime64.
            durations: Time that each row spans, seconds or timedelta64.

        Raises:
            DataError: there are no rows, or not equally many.
        """
        from edgeml.data._rows import of_columns

        def origin(n: int) -> Origin:
            return Origin(
                column(sources, n, "sources"),
                to_ns(times, n, "times"),
                to_ns(durations, n, "durations"),
            )

        return of_columns(columns_of(x, y, sample_weight), origin)

    @staticmethod
    def from_generator(
        fn: Callable[[], Iterable[Any]] | Iterable[Any], *, length: int | None = None
    ) -> Dataset:
        """Make a dataset of what a function's iterators yield.

        Args:
            fn: Called at each pass; or an iterable that can be iterated again.
            length: Number of elements, if it is known.

        Raises:
            DataError: an iterator was given, which can be read only once.
        """
        from edgeml.data._nodes import generated

        return generated(fn, length)

    @staticmethod
    def from_csv(
        path: Path,
        *,
        label: Name | Sequence[Name] | None = None,
        columns: Columns | None = None,
        configured_only: bool = False,
        dtype: Any = "float32",
        label_dtype: Any = None,
        as_dict: bool = False,
        header: bool = True,
        names: Sequence[str] | None = None,
        delimiter: str | None = ",",
        encoding: str = "utf-8-sig",
        sha256: str | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> Dataset:
        """Make a dataset of the rows of a CSV file, which is read a row at a time.

        Args:
            path: A file or an ``http(s)://`` address; ``.gz`` is unpacked.
            label: Column of the label, or a list of columns; a number counts columns, -1 is
                the last. None makes elements without a label.
            columns: The input columns, in order; or a dict of `Column` by name.
            configured_only: Only the columns in `columns`, if that is a dict.
            dtype: Of x, and of each column that has none of its own.
            label_dtype: Of the label; None is `dtype`.
            as_dict: x is a dict by column instead of one vector.
            header: The first row has names.
            names: Names instead of the header's; without either they are "0", "1", ….
            delimiter: One character; None is any run of blanks.
            encoding: Of the text.
            sha256: As for `from_url`.
            max_bytes: As for `from_url`.

        Raises:
            DataError: there is no such file or column. A pass raises it for a cell that is
                not a number and a row that is too short; it names file, line and column.
        """
        from edgeml.data._csv import CSV

        layout = Layout(label, columns, configured_only, dtype, label_dtype, as_dict)
        source = {"sha256": sha256, "max_bytes": max_bytes}
        return CSV(path, layout, header=header, names=names, delimiter=delimiter,
                   encoding=encoding, source=source)  # fmt: skip

    @staticmethod
    def from_url(
        url: Path,
        *,
        kind: Literal["csv", "text", "npy"] | None = None,
        sha256: str | None = None,
        max_bytes: int = MAX_BYTES,
        **options: Any,
    ) -> Dataset:
        """Make a dataset of what is at an address: a table, lines of text, rows of an array.

        Without `sha256` each pass asks the server anew; `cache` keeps what came.

        Args:
            url: ``http(s)://``, ``file://`` or a path.
            kind: None goes by the name's ending: ``.csv``, ``.tsv``, ``.npy``; else text.
            sha256: The file's hash in hex: it is then fetched once and kept, also for
                other programs, and used without a network.
            max_bytes: Most bytes that are taken from a server, after unpacking.
            options: For CSV those of `from_csv`; for text `encoding`.

        Raises:
            DataError: there is no such file.
            DownloadError: in a pass: no answer, or more than `max_bytes`.
        """
        from edgeml.data import _url

        source: dict[str, Any] = {"sha256": sha256, "max_bytes": max_bytes}
        chosen = kind or _url.kind_of(url)
        if chosen == "csv":
            if str(url).removesuffix(".gz").endswith(".tsv"):
                options = {"delimiter": "\t", **options}
            return Dataset.from_csv(url, **source, **options)
        if chosen == "text":
            return _url.Lines(url, source, **options)
        if chosen != "npy":
            raise ValueError(f'kind must be "csv", "text" or "npy"; received {kind!r}')
        if options:
            raise TypeError(f"from_url: .npy has no options; received {', '.join(options)}")
        return _url.npy(url, **source)

    @staticmethod
    def from_sql(
        connection: Any,
        query: str,
        *,
        parameters: Sequence[Any] | Mapping[str, Any] = (),
        label: Name | Sequence[Name] | None = None,
        columns: Columns | None = None,
        configured_only: bool = False,
        dtype: Any = "float32",
        label_dtype: Any = None,
        as_dict: bool = False,
    ) -> Dataset:
        """Make a dataset of the rows of a query, which runs at each pass.

        Args:
            connection: Path of an SQLite file, opened read-only; a function that connects,
                called at each pass; or a DB-API connection.
            query: A SELECT. Let the database order the rows (``ORDER BY``).
            parameters: For the query's placeholders.
            label: As for `from_csv`, and so are the others.
            columns: As for `from_csv`.
            configured_only: As for `from_csv`.
            dtype: As for `from_csv`.
            label_dtype: As for `from_csv`.
            as_dict: As for `from_csv`.

        Raises:
            DataError: there is no such file. A pass raises it when the query fails, finds
                nothing, or a value is not a number; it names row and column.
        """
        from edgeml.data._sql import SQL

        layout = Layout(label, columns, configured_only, dtype, label_dtype, as_dict)
        return SQL(connection, query, parameters, layout)

    @staticmethod
    def from_image_folder(
        path: Path,
        size: tuple[int, int],
        *,
        classes: Sequence[str] | None = None,
        crop: bool = False,
        gray: bool = False,
        workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> Folder:
        """Make a dataset of the pictures in a folder that has one folder a class.

        Elements are ``(x, y)``: x float32 RGB ``[height, width, 3]`` from 0 to 255, y int64.

        Args:
            path: The folder.
            size: (height, width) that pictures are resized to, pixels.
            classes: Names of folders, in the order of their numbers; None is all, sorted.
            crop: Cut to the ratio of `size` first, instead of stretching.
            gray: x is ``[height, width, 1]``.
            workers: Threads that decode.
            on_error: ``"skip"`` leaves out pictures that cannot be decoded; see `skipped`.

        Returns:
            A dataset with `class_names`, `files` and `skipped`.

        Raises:
            DataError: there is no folder or picture; in a pass, a picture is damaged.
            MissingExtra: OpenCV is not installed.
        """
        from edgeml.data._image import image_folder

        return image_folder(path, size, classes, crop, gray, workers, on_error)

    @staticmethod
    def from_audio_folder(
        path: Path,
        sample_rate: int,
        seconds: float,
        *,
        hop: float | None = None,
        classes: Sequence[str] | None = None,
        workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> Folder:
        """Make a dataset of the sound files in a folder that has one folder a class.

        Elements are ``(x, y)``: x float32 mono ``[round(seconds * sample_rate)]``, resampled
        and, where the file is shorter, padded with zeros; y int64.

        Args:
            path: The folder.
            sample_rate: Of x, Hz.
            seconds: Length of x.
            hop: Distance of the windows that are taken from each file, seconds; each is an
                element, and the file is its source. None takes the beginning.
            classes: As for `from_image_folder`.
            workers: Threads that decode.
            on_error: As for `from_image_folder`.

        Returns:
            A dataset with `class_names`, `files` and `skipped`.

        Raises:
            DataError: there is no folder or file; in a pass, a file is damaged.
            MissingExtra: soundfile or soxr is not installed.
        """
        from edgeml.data._audio import audio_folder

        return audio_folder(path, sample_rate, seconds, hop, classes, workers, on_error)
