"""Pages of charts that MLflow's own page lists under Views, as MLflow's page itself saves them.

A saved view is a tag of the experiment: a name, and the state of the page as JSON that went
through zlib and base64. A version of MLflow that reads it otherwise shows its usual page instead.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

_PREFIX = "mlflow.sharedViewState."
_BAR = {"type": "BAR"}
_LINE = {"type": "LINE", "xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear",
         "yAxisKey": "metric", "lineSmoothness": 0, "useGlobalXaxisKey": True,
         "useGlobalLineSmoothing": True}  # fmt: skip
_MOST_BYTES = 5000  # of a tag of an experiment, in MLflow


def children(run_id: str) -> str:
    """Return the search that finds the runs below a run."""
    return f"tags.mlflow.parentRunId = '{run_id}'"


def view_key(run_id: str) -> str:
    """Return what a run's saved view is called in addresses."""
    return hashlib.blake2b(run_id.encode(), digest_size=10).hexdigest()


def charts_address(metric: str, *, view: bool) -> str:
    """Return where MLflow's page charts the runs below a run, the highest of a metric first.

    Holds placeholders for the ids, see `Tracker.set_tags`.

    Args:
        view: the run has a saved view, whose charts are shown.
    """
    page = "#/experiments/{{mlflow.experiment_id}}/runs?workflowType=machine_learning"
    page += "&compareRunsMode=CHART"
    if view:  # which brings its own search and order; others in the address would win over it
        return page + "&viewStateShareKey={{chirpid.view}}"
    # Sorted by a metric the page shows a flat list; by time it would fold it into the parent.
    by = quote(f"metrics.`{metric}`", safe="")
    search = quote("tags.mlflow.parentRunId = '", safe="") + "{{mlflow.run_id}}%27"
    return f"{page}&searchFilter={search}&orderByKey={by}&orderByAsc=false"


def view_tag(run_id: str, name: str, charts: Sequence[str], *, now_ms: int) -> tuple[str, str]:
    """Return name and value of the tag of a view that charts metrics of the runs below a run.

    Saving it again replaces it. Charts that do not fit into a tag are left out from the end.

    Args:
        charts: metrics, one chart each; the runs are sorted by the first one.
    """
    kept = list(charts)
    while True:
        packed = _packed(_state(run_id, kept))
        value = {"name": name, "createdAt": now_ms, "updatedAt": now_ms, "state": packed}
        text = json.dumps(value)
        if len(text) <= _MOST_BYTES or not kept:
            return _PREFIX + view_key(run_id), text
        kept.pop()


def _packed(state: dict[str, Any]) -> str:
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()


def _state(run_id: str, charts: Sequence[str]) -> dict[str, Any]:
    sections = list(dict.fromkeys(_section(metric) for metric in charts))
    return {
        "searchFilter": children(run_id),
        "orderByKey": f"metrics.`{charts[0]}`" if charts else "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [f"metrics.`{metric}`" for metric in charts],
        "runsHiddenMode": "SHOWALL",
        "compareRunsMode": "CHART",
        "compareRunSections": [
            {
                "uuid": _uuid(section),
                "name": section,
                "display": True,
                "isReordered": True,
                "columns": 2,
            }  # of three, titles are cut beside the list of runs
            for section in sections
        ],
        "compareRunCharts": [
            {
                "uuid": _uuid(metric),
                "metricKey": metric,
                "metricSectionId": _uuid(_section(metric)),
                "runsCountToCompare": 20,
                "deleted": False,
                "isGenerated": False,
                "displayName": metric.partition("/")[2] or metric,
                **(_LINE | {"selectedMetricKeys": [metric]} if "/step/" in metric else _BAR),
            }
            for metric in charts
        ],
        "isAccordionReordered": True,
        "viewMaximized": False,
        "runListHidden": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
    }


def _section(metric: str) -> str:
    return metric.partition("/")[0]


def _uuid(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
