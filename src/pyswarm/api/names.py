"""Names for services that were given none: an adjective and somebody who knew about distance.

Docker draws such names by chance. Here they follow from the state of the swarm, so that the same
request to the same swarm is always answered alike; who loses a race for a name tries the next.
"""

from __future__ import annotations

import hashlib

from pyswarm.store import Reader

ADJECTIVES = (
    *("able", "agile", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy"),
    *("daring", "deft", "eager", "early", "fair", "fast", "fine", "firm", "fond", "frank"),
    *("free", "fresh", "gentle", "glad", "grand", "happy", "hardy", "humble", "jolly", "keen"),
    *("kind", "late", "lively", "loyal", "lucid", "merry", "mild", "modest", "neat", "noble"),
    *("patient", "plain", "proud", "quick", "quiet", "rapid", "ready", "serene", "sharp", "shy"),
    *("silent", "sober", "solid", "steady", "sunny", "swift", "tidy", "warm", "wise", "witty"),
)
SURNAMES = (
    *("amundsen", "baker", "barents", "bell", "bering", "bird", "boyd", "burton", "cabot"),
    *("cartier", "cochran", "coleman", "cook", "cousteau", "dampier", "davis", "drake"),
    *("earhart", "flinders", "franklin", "frobisher", "gama", "hedin", "henson", "heyerdahl"),
    *("hillary", "hudson", "humboldt", "jemison", "johnson", "kingsley", "leonov", "magellan"),
    *("mawson", "nansen", "nordenskjold", "norgay", "park", "peary", "piccard", "polo", "ride"),
    *("ross", "sacagawea", "savitskaya", "scott", "shackleton", "shepard", "speke", "stark"),
    *("tasman", "tereshkova", "tinne", "torres", "vancouver", "wegener", "wilkins", "zheng"),
)


def free_name(reader: Reader, node_id: str, attempt: int) -> str:
    """A name that no service has; another one for each attempt and each state of the swarm."""
    number = 0
    while True:
        seed = f"{node_id} {reader.version} {attempt} {number}"
        digest = hashlib.sha256(seed.encode()).digest()
        adjective = ADJECTIVES[digest[0] % len(ADJECTIVES)]
        surname = SURNAMES[digest[1] % len(SURNAMES)]
        name = f"{adjective}_{surname}" + (str(digest[2]) if number else "")
        if reader.by_name("service", name) is None:
            return name
        number += 1
