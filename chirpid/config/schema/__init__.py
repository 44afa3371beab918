"""The settings: name, type, default, unit and rule of each. YAML files hold differences only.

Rules that concern one group live in its `__post_init__`, rules across groups in `config.rules`.
A value of None means "decided for you", and `explain=true` says what was decided and why.
"""

from chirpid.config.schema.machine import HardwareConfig as HardwareConfig
from chirpid.config.schema.machine import LoaderConfig as LoaderConfig
from chirpid.config.schema.machine import MemoryConfig as MemoryConfig
from chirpid.config.schema.machine import PathsConfig as PathsConfig
from chirpid.config.schema.machine import TrackingConfig as TrackingConfig
from chirpid.config.schema.machine import TrackingKind as TrackingKind
from chirpid.config.schema.recordings import CheckKind as CheckKind
from chirpid.config.schema.recordings import DatasetConfig as DatasetConfig
from chirpid.config.schema.recordings import DatasetKind as DatasetKind
from chirpid.config.schema.recordings import DemoConfig as DemoConfig
from chirpid.config.schema.recordings import MixedSet as MixedSet
from chirpid.config.schema.recordings import SegmentConfig as SegmentConfig
from chirpid.config.schema.root import RootConfig as RootConfig
from chirpid.config.schema.sound import AugmentConfig as AugmentConfig
from chirpid.config.schema.sound import FrontEndConfig as FrontEndConfig
from chirpid.config.schema.sound import FrontEndKind as FrontEndKind
from chirpid.config.schema.sound import ModeConfig as ModeConfig
from chirpid.config.schema.sound import Normalise as Normalise
from chirpid.config.schema.training import CvConfig as CvConfig
from chirpid.config.schema.training import CvKind as CvKind
from chirpid.config.schema.training import EngineConfig as EngineConfig
from chirpid.config.schema.training import ModelConfig as ModelConfig
from chirpid.config.schema.training import OptimConfig as OptimConfig
from chirpid.config.schema.training import OptimName as OptimName
from chirpid.config.schema.training import Selection as Selection
