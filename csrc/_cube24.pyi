# The compiled cffi module. Everything that passes through it is checked by encoder/_core.py.
from typing import Any

ffi: Any
lib: Any
