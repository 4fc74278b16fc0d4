"""The dashboard fits Grafana's JSON model, alerts fire when they say, and both name metrics that there are."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import jsonschema
import pytest
import yaml

from tests.docs.blocks import ROOT, blocks

DASHBOARD: Final = json.loads((ROOT / "packaging" / "grafana" / "bgpctl.json").read_text())
ALERTS: Final = ROOT / "packaging" / "prometheus" / "alerts.yml"
RULES: Final = {rule["alert"]: rule for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]}
GUIDE: Final = ROOT / "docs" / "how-to" / "monitoring.md"
METRIC: Final = re.compile(r"\b(?:bgpctl|process)_\w+")
promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool: see tools/system-packages test")

# Names ------------------------------------------------------------------------------------------------------------


def documented() -> Mapping[str, frozenset[str]]:
    """The metrics of docs/metrics.md, which are those of the page (tests/unit/test_health.py), with their labels."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    found = re.findall(r"^\| `(bgpctl_\w+)(?:\{([\w,]+)\})?`", text, re.MULTILINE)
    ours = {name: frozenset(filter(None, labels.split(","))) for name, labels in found}
    return {**ours, "process_cpu_seconds_total": frozenset(), "process_resident_memory_bytes": frozenset()}


def expressions() -> Iterator[str]:
    """All PromQL of the dashboard and of the alerts."""
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (
        variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"
    )
    yield from (rule["expr"] for rule in RULES.values())


def test_every_metric_and_label_that_is_asked_for_is_one_of_the_agent() -> None:
    known = documented()
    asked = {name for text in expressions() for name in METRIC.findall(text)}
    assert asked <= known.keys()
    assert "bgpctl_workload_dropped_packets_total" in asked
    given = {"instance", "job"}  # by Prometheus
    for text in expressions():
        for name, conditions in re.findall(r"(\w+)\{([^}]*)\}", text):
            labels = set(re.findall(r"(\w+)=", conditions)) - given
            assert labels <= known.get(name, labels), text


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {
        name
        for panel in DASHBOARD["panels"]
        for one in panel.get("targets", ())
        for name in METRIC.findall(one["expr"])
    }
    assert documented().keys() - shown == set()


# The dashboard ----------------------------------------------------------------------------------------------------

_SOURCE: Final = {"type": "object", "required": ["type", "uid"]}
_PLACE: Final = {"type": "integer", "minimum": 0}
MODEL: Final = {
    "type": "object",
    "required": ["title", "uid", "schemaVersion", "panels", "templating", "time", "tags", "annotations"],
    "properties": {
        "id": False,  # the server's own
        "uid": {"type": "string", "pattern": r"^[A-Za-z0-9_-]{1,40}$"},
        "title": {"type": "string", "minLength": 1},
        "tags": {"type": "array", "items": {"type": "string"}},
        "schemaVersion": {"type": "integer", "minimum": 30},
        "version": {"type": "integer"},
        "editable": {"type": "boolean"},
        "graphTooltip": {"enum": [0, 1, 2]},
        "refresh": {"type": "string", "pattern": r"^\d+[smhd]$"},
        "timezone": {"enum": ["utc", "browser", ""]},
        "time": {"type": "object", "required": ["from", "to"]},
        "annotations": {"type": "object", "required": ["list"]},
        "templating": {
            "type": "object",
            "properties": {
                "list": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "type", "query", "current", "hide", "multi", "includeAll"],
                        "properties": {
                            "type": {"enum": ["query", "datasource", "custom", "constant", "interval", "textbox"]},
                            "hide": {"enum": [0, 1, 2]},
                            "refresh": {"enum": [0, 1, 2]},
                            "sort": {"type": "integer", "minimum": 0, "maximum": 8},
                        },
                    },
                }
            },
        },
        "panels": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "type", "title", "gridPos"],
                "properties": {
                    "id": {"type": "integer", "minimum": 1},
                    "type": {"enum": ["row", "stat", "timeseries", "table"]},
                    "gridPos": {
                        "type": "object",
                        "required": ["x", "y", "w", "h"],
                        "additionalProperties": False,
                        "properties": {
                            "x": {"type": "integer", "minimum": 0, "maximum": 23},
                            "y": _PLACE,
                            "w": {"type": "integer", "minimum": 1, "maximum": 24},
                            "h": {"type": "integer", "minimum": 1},
                        },
                    },
                },
                "if": {"properties": {"type": {"const": "row"}}},
                "then": {"required": ["collapsed", "panels"]},
                "else": {
                    "required": ["datasource", "targets", "fieldConfig", "options", "description"],
                    "properties": {
                        "datasource": _SOURCE,
                        "targets": {
                            "type": "array",
                            "minItems": 1,
                            "items": {
                                "type": "object",
                                "required": ["expr", "refId", "datasource"],
                                "properties": {"refId": {"pattern": "^[A-Z]$"}, "datasource": _SOURCE},
                            },
                        },
                        "fieldConfig": {"type": "object", "required": ["defaults", "overrides"]},
                        "transformations": {"type": "array", "items": {"required": ["id", "options"]}},
                    },
                },
            },
        },
    },
}
"""The fields of Grafana's documented JSON model that we use ("Dashboard JSON model", Grafana 9 and newer)."""


def test_the_dashboard_fits_grafanas_json_model() -> None:
    jsonschema.Draft202012Validator(MODEL).validate(DASHBOARD)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in DASHBOARD["panels"]:
        letters = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(letters)) == len(letters)


def test_panels_lie_in_the_grid_and_not_above_each_other() -> None:
    cells = [
        (column, line)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    ]
    assert max(column for column, _ in cells) == 23
    assert len(set(cells)) == len(cells)


def test_every_variable_is_used_and_every_used_one_is_there() -> None:
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(DASHBOARD["panels"])))
    assert used == names


@promtool
def test_prometheus_understands_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    values = {"$instance": ".*", "$__rate_interval": "5m"}
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    rules = [{"record": f"x:{number}", "expr": replaced(text, values)} for number, text in enumerate(asked)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    ask("check", "rules", "--lint=none", file)


def replaced(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def ask(*words: str | Path) -> str:
    done = subprocess.run(("promtool", *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Alerts -----------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A series of samples, a minute each; the labels and the value of the alert that fires at `at`, if any."""

    alert: str
    series: Mapping[str, str]
    at: str
    labels: Mapping[str, str] | None = None
    value: str = ""


A1: Final = {"instance": "a1:9099"}
PEER: Final = {**A1, "peer": "tor-a", "address": "10.0.0.254"}


def named(metric: str, **labels: str) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{metric}{{{inside}}}"


def gauge(alert: str, metric: str, bad: str, good: str, after: str, **labels: str) -> Iterator[Case]:
    """Fires after a time at a value, not before that, and never at another value."""
    series = named(metric, **A1, **labels)
    minutes = int(re.sub(r"\D", "", after)) * {"m": 1, "h": 60, "d": 1440}[after[-1]]
    yield Case(alert, {series: f"{bad}x{minutes + 5}"}, f"{minutes + 1}m", {**A1, **labels}, bad.partition("+")[0])
    yield Case(alert, {series: f"{bad}x{minutes + 5}"}, f"{minutes - 1}m")
    yield Case(alert, {series: f"{good}x{minutes + 5}"}, f"{minutes + 1}m")


def counter(alert: str, metric: str, step: int, at: str, quiet: int, labels: Mapping[str, str]) -> Iterator[Case]:
    """Fires if it rises by a number each minute, and not if it rises by another, or is high and stays."""
    series, kept = named(metric, **labels), {name: value for name, value in labels.items() if name in KEPT[alert]}
    yield Case(alert, {series: f"0+{step}x120"}, at, kept)
    yield Case(alert, {series: f"0+{quiet}x120"}, at)
    yield Case(alert, {series: "1000+0x120"}, at)


KEPT: Final = {
    "BgpctlMalformedUpdates": {"instance", "peer", "address"},
    "BgpctlSendersRefused": {"instance", "tunnel"},
    "BgpctlWorkloadRefused": {"instance", "device", "reason"},
    "BgpctlNotificationsLost": {"instance"},
    "BgpctlSelfcheckMismatch": {"instance"},
}
TUNNEL: Final = {**A1, "tunnel": "tunl0", "reason": "sender"}
WORKLOAD: Final = {**A1, "device": "cali1", "reason": "source"}
CASES: Final[Sequence[Case]] = (
    *gauge("BgpctlAgentDown", "up", "0+0", "1+0", "5m", job="bgpctl"),
    Case("BgpctlAgentDown", {named("up", **A1, job="node"): "0+0x20"}, "10m"),
    *gauge("BgpctlPathUnreachable", "bgpctl_paths", "2+0", "0+0", "2m", state="unreachable"),
    Case("BgpctlPathUnreachable", {named("bgpctl_paths", **A1, state="proven"): "3+0x20"}, "10m"),
    *gauge("BgpctlPathNarrow", "bgpctl_paths", "1+0", "0+0", "10m", state="narrow"),
    *gauge("BgpctlPathUnproven", "bgpctl_paths", "1+0", "0+0", "15m", state="unproven"),
    *gauge("BgpctlNotReady", "bgpctl_ready", "0+0", "1+0", "10m"),
    *gauge("BgpctlDegraded", "bgpctl_phase", "1+0", "0+0", "5m", phase="degraded"),
    *gauge("BgpctlPeerDown", "bgpctl_peer_established", "0+0", "1+0", "5m", peer="tor-a", address="10.0.0.254"),
    *gauge("BgpctlPathsRejected", "bgpctl_peer_rejected_routes", "7+0", "0+0", "30m", peer="b1", address="10.1.0.3"),
    *counter("BgpctlMalformedUpdates", "bgpctl_peer_malformed_updates_total", 1, "40m", 0, PEER),
    *gauge("BgpctlChangesFail", "bgpctl_failed_operations", "3+0", "0+0", "5m"),
    *gauge("BgpctlRoutesShadowed", "bgpctl_shadowed_routes", "1+0", "0+0", "5m"),
    *gauge("BgpctlRepairsAgainAndAgain", "bgpctl_repairs_last_hour", "21+0", "20+0", "15m"),
    *gauge("BgpctlConfigRejected", "bgpctl_config_rejected", "1+0", "0+0", "5m"),
    *gauge("BgpctlConfigurationsDiffer", "bgpctl_other_configurations", "2+0", "0+0", "30m"),
    *gauge("BgpctlStoreSilent", "bgpctl_store_silent_seconds", "90+0", "60+0", "5m"),
    *gauge("BgpctlStoreHeldOff", "bgpctl_store_held_off", "1+0", "0+0", "5m"),
    Case(
        "BgpctlVersionsDiffer",
        {
            named("bgpctl_info", instance=at, version=of): "1+0x1500"
            for at, of in (("a1", "1"), ("a2", "1"), ("b1", "2"))
        },
        "1445m",
        {},
        "2",
    ),
    Case("BgpctlVersionsDiffer", {named("bgpctl_info", instance=at, version="1"): "1+0x1500" for at in "ab"}, "1445m"),
    *counter("BgpctlSendersRefused", "bgpctl_tunnel_filtered_packets_total", 90, "30m", 50, TUNNEL),
    Case(
        "BgpctlSendersRefused",
        {named("bgpctl_tunnel_filtered_packets_total", **A1, tunnel="t", reason="other"): "0+90x60"},
        "30m",
    ),
    *counter("BgpctlWorkloadRefused", "bgpctl_workload_dropped_packets_total", 90, "30m", 50, WORKLOAD),
    *counter("BgpctlNotificationsLost", "bgpctl_mirror_mismatch_total", 1, "70m", 0, A1),
    *counter("BgpctlSelfcheckMismatch", "bgpctl_selfcheck_mismatch_total", 1, "70m", 0, A1),
)


def expected(case: Case) -> list[Mapping[str, Any]]:
    """The alerts that promtool is to find: labels and annotations of the rule, filled in."""
    if case.labels is None:
        return []
    rule, found = (
        RULES[case.alert],
        {"$value": case.value, **{f"$labels.{name}": value for name, value in case.labels.items()}},
    )
    values = {f"{{{{ {name} }}}}": value for name, value in found.items()}
    annotations = {name: replaced(text, values) for name, text in rule["annotations"].items()}
    return [{"exp_labels": {**case.labels, **rule["labels"]}, "exp_annotations": annotations}]


@promtool
def test_alerts_fire_when_they_say_and_not_otherwise(tmp_path: Path) -> None:
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
            "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected(case)}],
        }
        for case in CASES
    ]
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    ask("check", "rules", ALERTS)
    ask("test", "rules", file)


def test_every_alert_is_seen_to_fire_and_to_be_silent() -> None:
    fires = {case.alert for case in CASES if case.labels is not None}
    silent = {case.alert for case in CASES if case.labels is None}
    assert fires == silent == RULES.keys()


def test_every_alert_has_an_urgency_and_the_next_step() -> None:
    for rule in RULES.values():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"].keys() == {"summary", "description"}
    assert sorted(RULES) == sorted(re.findall(r"^\| `(Bgpctl\w+)`", GUIDE.read_text(), re.MULTILINE))
    for name, urgency in re.findall(r"^\| `(Bgpctl\w+)` \| (\w+) \|", GUIDE.read_text(), re.MULTILINE):
        assert RULES[name]["labels"]["severity"] == urgency


@promtool
def test_prometheus_understands_the_configuration_of_the_guide(tmp_path: Path) -> None:
    (shown,) = (block for block in blocks(GUIDE) if block.file == "prometheus.yaml")
    (tmp_path / "alerts.yml").write_text(ALERTS.read_text())
    (tmp_path / "prometheus.yaml").write_text(shown.text.replace("/etc/prometheus/", f"{tmp_path}/"))
    assert f"{len(RULES)} rules found" in ask("check", "config", tmp_path / "prometheus.yaml")


def test_the_guide_names_every_file_that_is_installed() -> None:
    text = GUIDE.read_text()
    for name in itertools.chain(
        (ROOT / "packaging" / "grafana").iterdir(), (ROOT / "packaging" / "prometheus").iterdir()
    ):
        assert name.name in text
