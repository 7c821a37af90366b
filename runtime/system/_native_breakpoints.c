/* Breakpoints in the kernel's code: what both processors ask before an exception is the kernel's. */
#include "_native.h"

/* Whether an exception is a breakpoint's, or that of a displaced instruction which is not to be taken. */
bool dealt_with(struct breakpoints *breakpoints, void *uc, uint32_t number)
{
    PyObject *result;
    bool done;

    if (!breakpoints->claim)
        return false;
    if (breakpoints->claim(uc, number, breakpoints->user))
        return true;
    if (*breakpoints->pc - breakpoints->start >= breakpoints->size)
        return false;
    result = PyObject_CallFunction(breakpoints->left, "I", number);
    done = result == Py_True;
    if (!result)
        PyErr_WriteUnraisable(breakpoints->left);
    Py_XDECREF(result);
    return done;
}

PyObject *set_breakpoints(struct breakpoints *breakpoints, PyObject *args)
{
    unsigned long long claim, user, pc, start, size;
    PyObject *left, *old = breakpoints->left;

    if (!PyArg_ParseTuple(args, "KKKKKO", &claim, &user, &pc, &start, &size, &left))
        return NULL;
    breakpoints->claim = (bool (*)(void *, uint32_t, void *))(uintptr_t)claim;
    breakpoints->user = POINTER(user);
    breakpoints->pc = POINTER(pc);
    breakpoints->start = start;
    breakpoints->size = size;
    breakpoints->left = Py_NewRef(left);
    Py_XDECREF(old);
    Py_RETURN_NONE;
}
