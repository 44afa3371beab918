"""`chirpid shard`: write a dataset as shards that other machines can train on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chirpid.cli.guard import run_guarded

if TYPE_CHECKING:
    from chirpid.config.resolve import Resolved

ORDERS = ("recordings", "segments")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    result = argparse.ArgumentParser(
        prog="chirpid shard",
        description="Write the rows of a dataset, with all that training needs to know of them, to "
        "a folder or a bucket. What was stopped goes on when it is run again.",
        epilog="Train on it: python train.py dataset=shards dataset.root=OUT",
    )
    result.add_argument("out", metavar="OUT", help="folder or URL, such as s3://bucket/set")
    result.add_argument("overrides", nargs="*", metavar="SETTING=VALUE",
                        help="dataset=..., segment, frontend and mode settings")  # fmt: skip
    result.add_argument("--order", choices=ORDERS, default=ORDERS[0],
                        help="recordings: in random order, each with its segments in time, as all "
                        "modes have them; segments: each by itself in random order, which mixes "
                        "better where a recording fills a shard (default: recordings)")  # fmt: skip
    result.add_argument("--config-dir", type=Path, metavar="DIR",
                        help="take options from DIR as well")  # fmt: skip
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Write the set and return the exit code."""
    options = parser().parse_intermixed_args(argv)
    return run_guarded(
        lambda: _main(options.out, options.overrides, options.order, options.config_dir)
    )


def _main(out: str, overrides: Sequence[str], order: str, config_dir: Path | None) -> int:
    from chirpid.config.store import compose

    resolved = compose(overrides, config_dir=config_dir)
    for note in resolved.notes:
        print(f"note: {note}", file=sys.stderr)
    _write(resolved, out, shuffle=order == "segments")
    return 0


def _write(resolved: Resolved, out: str, *, shuffle: bool) -> None:
    from rich.console import Console

    from chirpid import build
    from chirpid.cli import from_shards
    from chirpid.cli.prepare import prepare_rows
    from chirpid.cli.progress import progress_bar
    from chirpid.config.store import compose
    from chirpid.data.modes import store_key
    from chirpid.data.sources.shards import shuffled, write_shard_set
    from chirpid.errors import ConfigError
    from chirpid.loading.hardware import read_machine
    from chirpid.types import size_text

    config = resolved.config
    console = Console(highlight=False, soft_wrap=True, markup=False)
    place = from_shards.place_of(config, out)
    if place.read_only:
        raise ConfigError(
            f"{out} can be read and not written. Write to a folder or to s3://, and serve that."
        )
    if config.dataset.mix:
        raise ConfigError(
            "dataset.mix draws from several sets while training, and chirpid shard writes one. "
            "Use dataset.root."
        )
    machine = read_machine("cpu")
    rows = prepare_rows(config, machine, console)
    maker = rows.maker
    if shuffle and rows.shards is not None:
        raise ConfigError("--order=segments needs recordings: a set of shards keeps its order.")
    if shuffle:
        maker = build.maker_of(config, shuffled(maker.segments))
    for note in (*rows.checked.manifest.notes, *rows.notes):
        console.print(f"  note: {note}")
    count, size = len(maker.segments), config.mode.shard_segments
    spec = maker.spec
    console.print(
        f"{count} segments of {len(maker.segments.recordings)} recordings, {spec.keep.value} "
        f"{'×'.join(map(str, spec.shape))} as {spec.dtype.value}: "
        f"{size_text(count * spec.row_bytes)} in {-(-count // size)} shards"
    )
    settings = from_shards.row_settings(config)
    with progress_bar(console, "segments written") as told:
        written = write_shard_set(
            place,
            maker,
            rows.checked,
            settings,
            shard_segments=size,
            rows_key=store_key(maker, build.frontend_settings(config)),
            num_threads=machine.num_cores,
            progress=told,
        )
    kept = -(-count // size) - written
    console.print(f"{out}: {written} shards written, {kept} were there")
    usual = compose(["dataset=shards", "dataset.root=OUT"]).config
    more = from_shards.overrides_of(settings, usual)
    console.print(" ".join(["train on it: python train.py dataset=shards", f"dataset.root={out}",
                            *more]))  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
