"""``PYTHONPATH=tests python -m recorded [--topics a,b] [--nodes n1] [--numbers 0-40,100-172]``.

Plays all recorded calls, or those chosen, and prints what differs and is not known to. Exits with 1
if there was any.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from recorded.daemons import Daemons
from recorded.differences import KNOWN
from recorded.player import REGISTRY, REGISTRY_IMAGES, Player, records
from recorded.registry import Registries

PATIENCE_S = 20.0


def main() -> int:
    """Play, compare, count; how many calls differ and are not known to."""
    parser = argparse.ArgumentParser(prog="recorded", description=__doc__)
    parser.add_argument("--topics", default="")
    parser.add_argument("--numbers", default="")
    parser.add_argument("--nodes", default="")
    parser.add_argument("--patience", type=float, default=PATIENCE_S)
    parser.add_argument("--all", action="store_true", help="show what is known to differ too")
    chosen = parser.parse_args()
    wanted = records()
    if chosen.topics:
        wanted = [one for one in wanted if one.topic in chosen.topics.split(",")]
    if chosen.nodes:
        wanted = [one for one in wanted if one.node in chosen.nodes.split(",")]
    if chosen.numbers:
        ranges = [tuple(map(int, one.split("-"))) for one in chosen.numbers.split(",")]
        wanted = [one for one in wanted if any(a <= one.number <= b for a, b in ranges)]
    agreed: Counter[str] = Counter()
    known: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        daemons = Daemons(Path(folder), REGISTRY_IMAGES)
        registries = Registries(REGISTRY)
        player = Player(daemons, patience_s=chosen.patience, registries=registries)
        try:
            for record in wanted:
                is_known = record.number in KNOWN
                outcome = player.play(record, patience_s=0.0 if is_known else None)
                agreed[record.topic] += outcome.agrees
                known[record.topic] += is_known and not outcome.agrees
                if not outcome.agrees and (chosen.all or not is_known):
                    print(outcome.show(), flush=True)
                elif outcome.agrees and chosen.all and is_known:
                    print(f"#{record.number} agrees, though it is listed", flush=True)
        finally:
            daemons.stop_all()
            registries.close()
    for topic, count in Counter(one.topic for one in wanted).items():
        print(f"{topic:24} {agreed[topic]} of {count}, {known[topic]} known to differ")
    unknown = len(wanted) - agreed.total() - known.total()
    print(
        f"{agreed.total()} of {len(wanted)} agree, {known.total()} are known to differ, "
        f"{unknown} are not"
    )
    return unknown


if __name__ == "__main__":
    sys.exit(main() > 0)
