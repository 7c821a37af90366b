/*
 * What the extensions of both machines share. They are built with a C compiler and Python's headers alone: libunicorn is not linked, the
 * addresses of its functions are handed in at run time; and against the limited API, so that one build serves every Python from 3.11 on.
 */
#ifndef PYPROBE_NATIVE_COMMON_H
#define PYPROBE_NATIVE_COMMON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#define NOWHERE UINT64_MAX
#define PAGE UINT64_C(4096)

/* An address that came from Python as a number, as whatever it is to be assigned to. */
#define POINTER(address) ((void *)(uintptr_t)(address))
#define NUMBER(pointer) ((unsigned long long)(uintptr_t)(pointer))

struct words { /* ClockWords of clock.py */
    uint64_t now, deadline;
};

#define WAITING 1 /* a deadline: see clock.py */

/* A new object of `type`, its fields zeros. */
static inline void *new_object(PyTypeObject *type)
{
    return ((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
}

/* Give up an object whose references are gone. */
static inline void free_object(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static inline int add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);
    int error = type ? PyModule_AddType(module, (PyTypeObject *)type) : -1;

    Py_XDECREF(type);
    return error;
}

#endif
