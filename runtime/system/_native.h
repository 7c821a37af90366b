/*
 * What a booted kernel does so often that Python would be felt: taking exceptions, reading the counter, cleaning caches, writing to code.
 * Every rule stands in twin.py or coherence.py too; one set of tests runs both.
 */
#ifndef PYPROBE_SYSTEM_NATIVE_H
#define PYPROBE_SYSTEM_NATIVE_H

#include "../machine/_native_common.h"

extern PyType_Spec Glue_spec, Entry_spec, Coherence_spec;

#endif
