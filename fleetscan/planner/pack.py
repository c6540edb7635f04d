"""The plan of rules as an osquery pack: what they need, at the intervals they ask for, for osqueryd and Fleet.

A pack returns rows, not verdicts: the same keys that a sweep reads, which ``fleetscan evaluate`` can judge.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from fleetscan.planner.plan import make_plan
from fleetscan.planner.scopes import DEFAULT_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetscan.model.rule import Rule
    from fleetscan.planner.scopes import Options

DEFAULT_INTERVAL = 3600
OLDEST_OSQUERY = "5.15.0"
"""Before, REG_EXPAND_SZ and long lists of keys behaved differently (osquery-registry.md section 8)."""


def pack(rules: Sequence[Rule], options: Options = DEFAULT_OPTIONS) -> dict[str, Any]:
    """The pack as JSON values; rules of one interval share their queries."""
    by_interval: dict[int, list[Rule]] = defaultdict(list)
    for rule in rules:
        by_interval[rule.interval or DEFAULT_INTERVAL].append(rule)
    queries: dict[str, Any] = {}
    for interval, group in sorted(by_interval.items()):
        plan = make_plan(group, options=options)
        for text in plan.statements:
            needing = [found.rule for found in plan.rules if set(found.scope_ids) & set(text.scope_ids)]
            if needing:
                area = text.id.rpartition("-")[0]
                queries[f"fleetscan_{area}_{interval}s"] = {
                    "query": text.sql,
                    "interval": interval,
                    "platform": "windows",
                    "version": OLDEST_OSQUERY,
                    "snapshot": True,
                    "description": _description(needing),
                }
    return {"platform": "windows", "version": OLDEST_OSQUERY, "queries": queries}


def _description(rules: Sequence[Rule]) -> str:
    parts = []
    for rule in rules:
        techniques = f" ({', '.join(rule.techniques)})" if rule.techniques else ""
        parts.append(f"{rule.title}{techniques}")
    return "Registry keys for: " + "; ".join(parts)


def pack_text(rules: Sequence[Rule], options: Options = DEFAULT_OPTIONS) -> str:
    """The pack as a file."""
    return json.dumps(pack(rules, options), indent=2, ensure_ascii=False) + "\n"
