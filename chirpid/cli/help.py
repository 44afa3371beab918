"""What `--help` says: groups and options read from the tree, settings read from the schema."""

from __future__ import annotations

from pathlib import Path

from chirpid.config.paths import conf_dir
from chirpid.errors import ConfigError, did_you_mean

_HEAD = """\
Train a bird-sound classifier: from recordings to cross-validated, tracked results.

usage: {program} [GROUP=OPTION ...] [SETTING=VALUE ...] [flags]

examples:
  {program}                                           synthetic demo birds, no data needed
  {program} dataset=folder dataset.root=recordings    one folder per class
  {program} dataset=csv dataset.root=birds "dataset.filter=core == 1"
  {program} mode=lazy engine.epochs=5 loader.batch_size=64
  {program} -m mode=lazy,eager,cached engine=tiny     one run for each
  {program} resume=auto                               go on after Ctrl-C
  {program} explain=true                              the plan, where each value came from

groups (the option taken by default is marked *):
"""

_FOOT = """\

flags:
  -h, --help [GROUP]   this help, or all settings of a group: --help loader
  -m, --multirun       run one job for each combination of values given with commas
  --explain            the same as explain=true
  --cfg                print the whole config and stop
  --config-dir DIR     take options from DIR as well; it is laid out like conf/
  --version            print the version

Settings that are not given follow the options; your own defaults go to conf/local/default.yaml.
"""


def overview(program: str) -> str:
    """Return the help text; `program` is how the user called us."""
    return _HEAD.format(program=program) + _groups(conf_dir()) + _FOOT


def group_help(section: str) -> str:
    """Return all settings of a group with type, default and meaning; and its options.

    Raises:
        ConfigError: there is no such group.
    """
    from chirpid.config.settings import all_settings, describe_type, docs, sections, siblings

    if section not in sections():
        known = ", ".join(siblings(""))
        hint = did_you_mean(section, list(sections()))
        raise ConfigError(f"There is no group '{section}'.{hint} Settings and groups: {known}.")
    lines = [f"settings of {section}:"]
    for key, setting in all_settings().items():
        if key.startswith(f"{section}."):
            lines.append(
                f"  {key} = {show(setting.default)}    ({describe_type(setting.annotation)})"
            )
            if meaning := docs(setting.owner)[key.rsplit(".", 1)[-1]]:
                lines.append(f"      {meaning}")
    told = options_told(section)
    if told:
        width = max(map(len, told))
        options = [f"  {section}={name:<{width}}  {meaning}" for name, meaning in told.items()]
        lines += ["", f"options of {section}:", *options]
    return "\n".join(lines)


def options_told(group: str) -> dict[str, str]:
    """Return the options of a group, each with the comment that its file opens with."""
    folder = conf_dir() / group
    return {name: _first_comment(folder / f"{name}.yaml") for name in _options(folder)}


def show(value: object) -> str:
    """Return a value as it is written on a command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) or "''"


def _groups(folder: Path) -> str:
    taken = _taken((folder / "config.yaml").read_text(encoding="utf-8"))
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != "local")
    width = max(map(len, names))
    lines = []
    for name in [*(group for group in taken if group in names), *sorted(set(names) - set(taken))]:
        options = [f"{one}*" if one == taken.get(name) else one for one in _options(folder / name)]
        lines.append(f"  {name:<{width}}  {' '.join(options)}\n")
    return "".join(lines)


def _first_comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = (line[1:].strip() for line in lines if line.startswith("#"))
    return next((comment for comment in comments if not comment.startswith("@")), "")


def _options(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _taken(text: str) -> dict[str, str]:
    # Read as text: importing a YAML parser would make help slower for nothing.
    head = text.split("\nhydra:")[0]
    pairs = (line[4:].split(": ", 1) for line in head.splitlines() if line.startswith("  - "))
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and " " not in pair[0]}
