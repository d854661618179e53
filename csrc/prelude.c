#include "cube24.h"
