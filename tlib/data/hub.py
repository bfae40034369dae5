"""The hub source: the same rows and columns from `datasets.load_dataset`, for the profiles with a GPU."""

from typing import TYPE_CHECKING

from tlib.data.catalogue import DataError, Entry, Hub

if TYPE_CHECKING:
    import datasets


def load(entry: Entry, source: Hub, features: "datasets.Features") -> "datasets.DatasetDict":
    """Splits of a hub data set with exactly the entry's columns; files only, no code of the hub ever runs.

    Raises:
        DataError: the hub cannot be reached, or the data set lacks a column.
    """
    import datasets

    try:
        # datasets >= 4 has no way left to run a repository's code (`trust_remote_code`); tlib asks for no older one.
        loaded = datasets.load_dataset(source.path, source.config, revision=source.revision)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"Data set {entry.name!r}: {source} cannot be had: {type(error).__name__}: {error}."
            "\nCheck the network connection; HF_HOME says where the hub keeps its files."
        ) from error
    for split, rows in loaded.items():
        if missing := set(features) - set(rows.column_names):
            raise DataError(
                f"{entry.name!r}: split {split!r} of {source} lacks {sorted(missing)}, has {rows.column_names}"
            )
    loaded = datasets.DatasetDict(
        {split: rows.select_columns(list(features)).cast(features) for split, rows in loaded.items()}
    )
    if source.dev_every:
        train = loaded.pop("train")
        held_out = range(0, train.num_rows, source.dev_every)
        loaded["dev"] = train.select(held_out)
        loaded["train"] = train.select(sorted(set(range(train.num_rows)) - set(held_out)))
    return loaded
