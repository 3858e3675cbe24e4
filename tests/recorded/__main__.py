"""``PYTHONPATH=tests python -m recorded [--topics a,b] [--nodes n1] [--numbers 0-40]``.

Plays all recorded calls, or those chosen, and prints what differs and is not known to.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from recorded.daemons import Daemons
from recorded.differences import KNOWN
from recorded.player import Player, records

PATIENCE_S = 4.0


def main() -> None:
    """Play, compare, count."""
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
        first, last = map(int, chosen.numbers.split("-"))
        wanted = [one for one in wanted if first <= one.number <= last]
    agreed: Counter[str] = Counter()
    known: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        daemons = Daemons(Path(folder))
        player = Player(daemons, patience_s=chosen.patience)
        try:
            for record in wanted:
                is_known = record.number in KNOWN
                outcome = player.play(record, patience_s=0.0 if is_known else None)
                agreed[record.topic] += outcome.agrees
                known[record.topic] += is_known and not outcome.agrees
                if not outcome.agrees and (chosen.all or not is_known):
                    print(outcome.show(), flush=True)
        finally:
            daemons.stop_all()
    for topic, count in Counter(one.topic for one in wanted).items():
        print(f"{topic:24} {agreed[topic]} of {count}, {known[topic]} known to differ")
    print(f"{agreed.total()} of {len(wanted)} agree, {known.total()} are known to differ")


if __name__ == "__main__":
    main()
