"""The house as data: who may import whom, what is harmless, what no pure code calls, how large.

To add a package, add its row. To widen a row is a decision about the architecture: say why here.
"""

from __future__ import annotations

VOCABULARY = {"errors", "ids", "env", "machine", "attrs"}  # for everyone beyond these four
RING_0 = {"errors", "ids", "env", "machine", "model"}
RING_1 = {
    *("raft", "store", "scheduler", "orchestrator", "ipam", "ca", "secretstore", "templating"),
    *("dispatch", "agent", "network", "api", "compose"),
}
PURE = RING_0 | RING_1 | {"node", "sim"}  # rings 0-2

# A row is a module or package directly under pyswarm; None means anything.
MAY_IMPORT: dict[str, set[str] | None] = {
    "errors": set(),
    "env": set(),
    "ids": {"errors", "env"},
    "machine": {"errors", "ids", "env", "attrs"},
    "model": VOCABULARY | {"cattrs", "msgpack"},
    "raft": VOCABULARY | {"msgpack"},
    "store": VOCABULARY | {"model", "msgpack"},
    "scheduler": VOCABULARY | {"model"},
    "orchestrator": VOCABULARY | {"model", "store", "ipam", "scheduler"},
    "ipam": VOCABULARY | {"model"},
    "ca": VOCABULARY | {"model", "cryptography"},
    "secretstore": VOCABULARY | {"model", "cryptography"},
    "templating": VOCABULARY | {"model", "jinja2"},
    "dispatch": VOCABULARY | {"model", "store"},
    "agent": VOCABULARY | {"model"},
    "network": VOCABULARY | {"model"},
    "api": VOCABULARY | {"model", "store"},
    "compose": VOCABULARY | {"model", "yaml"},
    "node": VOCABULARY | RING_0 | RING_1,
    "sim": VOCABULARY | PURE,
    "runtime": VOCABULARY | PURE | {"trio", "cryptography", "msgpack", "h11"},
    "cluster": VOCABULARY | {"runtime", "model", "scheduler", "sim", "trio"},
    "blocking": VOCABULARY | {"cluster", "model", "trio"},
    "testing": None,
    "cli": None,
    "__main__": {"cli"},
    "__init__": None,  # read by type checkers only; the test of the public names holds them
}
# Never at the head of a module, so that importing the package does not load them.
ONLY_INSIDE_FUNCTIONS = {("cluster", "sim"), ("env", "os")}

# What rings 0-2 may take from the standard library: it neither reads the world nor waits.
# fmt: off
HARMLESS = {
    "__future__", "abc", "array", "base64", "binascii", "bisect", "collections", "contextlib",
    "copy", "dataclasses", "datetime", "decimal", "enum", "fnmatch", "fractions", "functools",
    "hashlib", "heapq", "hmac", "http.HTTPStatus", "ipaddress", "itertools", "json", "math",
    "operator", "pathlib.PurePosixPath", "posixpath", "re", "shlex", "string", "struct",
    "sys.intern", "textwrap", "types", "typing", "unicodedata", "urllib.parse", "weakref", "zlib",
}
# fmt: on
STDLIB_EXCEPTIONS = {
    ("env", "os"): "system_entropy, for parts used alone",
    ("env", "random.Random"): "the generator that Rng wraps",
    ("model", "importlib.import_module"): "names that are imported when first used",
}
# Their last digit differs between platforms; a seed must repeat everywhere.
INEXACT = {"log", "log2", "log10", "log1p", "exp", "expm1", "sin", "cos", "tan"}
CLOCKS = {"now", "utcnow", "today", "fromtimestamp"}
DISK = {"exists", "lexists", "isfile", "isdir", "islink", "getsize", "realpath", "abspath"}
BANNED_CALLS = {"open", "print", "input", "breakpoint", "eval", "hash", "__import__"}
BANNED_MEMBERS = {"datetime": CLOCKS, "date": CLOCKS, "math": INEXACT, "posixpath": DISK}

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
LINE_CHARACTERS_MAX = 100
INIT_LINES_MAX = 60
# The public names twice: for run time and for types. Of the model those that are imported later.
INIT_LINES_EXCEPTIONS = {"pyswarm": 160, "pyswarm.model": 90}

# Brought by extras: nothing but what the extra is for may load them.
OPTIONAL = {"click", "rich", "yaml", "h11", "pytest"}
OPTIONAL |= {"hypothesis", "sphinx"}
HEAVY = {"trio", "cryptography", "jinja2"}
MAY_LOAD = {  # on import, in a fresh process
    "ca": {"cryptography"},
    "secretstore": {"cryptography"},
    "templating": {"jinja2"},
    "compose": {"yaml"},
    "runtime": {"trio", "cryptography"},
    "cluster": {"trio", "cryptography"},
    "blocking": {"trio", "cryptography"},
    "testing": {"trio", "cryptography"},
}

FRAGMENT_KINDS = {"headline", "breaking", "feature", "bugfix", "deprecated", "doc", "misc"}
