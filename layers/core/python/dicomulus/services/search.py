"""Search: studies, the series of a study, the instances of a series (PS3.18 §10.6)."""

from __future__ import annotations

import heapq
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import batched_entries
