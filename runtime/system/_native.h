/*
 * What a booted kernel does so often that Python would be felt: taking exceptions, reading the counter, cleaning caches, writing to code.
 * Every rule stands in twin.py or coherence.py too; one set of tests runs both.
 */
#ifndef PYPROBE_SYSTEM_NATIVE_H
#define PYPROBE_SYSTEM_NATIVE_H

#include "../machine/_native_common.h"

/*
 * Breakpoints in the kernel's code, once there is one: they are the business of the callbacks in ../machine/_native_callbacks.c, and an
 * exception of an instruction that runs in a slot becomes one of the place it stands for before the kernel is told.
 */
struct breakpoints {
    bool (*claim)(void *uc, uint32_t number, void *user); /* NULL: there are none */
    void *user;
    uint64_t *pc;
    uint64_t start, size;               /* of the slots */
    PyObject *left;                     /* told the exception; true: it is dealt with */
};

#define BREAKPOINTS_DOC "breakpoints(claim, user, pc, start, size, left): breakpoints there are from now on; see twin.py."

bool dealt_with(struct breakpoints *breakpoints, void *uc, uint32_t number);
PyObject *set_breakpoints(struct breakpoints *breakpoints, PyObject *args);

extern PyType_Spec Glue_spec, Entry_spec, Coherence_spec, Shortcuts_spec;

#endif
