"""Many trainings on one cache: sweeps, which search settings; the audit, which says how far a score may be trusted; the paper's tables.

Importing this package costs nothing: names are resolved on first use.
"""

from typing import TYPE_CHECKING

from .. import lazy_names

if TYPE_CHECKING:
    from .audit.auditing import audit_cache
    from .audit.findings import Audit
    from .found.record import Sweep
    from .reproduce.recipe import Recipe
    from .reproduce.reproducing import Reproduction
    from .search.settings import SweepConfig
    from .search.sweeping import sweep_cache
    from .space.space import Space
    from .space.tables import read_space

__getattr__ = lazy_names(__name__, __file__)
