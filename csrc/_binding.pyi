# The compiled cffi module. Everything that passes through it is checked by cube24/_core.
from typing import Any

ffi: Any
lib: Any
