/*
 * What libunicorn calls, in the order of twin.py. It runs inside uc_emu_start, which the engine calls without giving up the interpreter's
 * lock.
 */
#include "_native.h"

#define LAST_GROWTH (1u << 18)

enum { R = 1, W = 2, X = 4, EXECUTED = 32, SHARED = 64 }; /* memory.py */
enum { MEM_READ = 16 };                                   /* uc_mem_type */

static void failed(Core *core)
{
    PyObject *type, *value, *traceback, *result;

    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value && traceback)
        PyException_SetTraceback(value, traceback);
    result = PyObject_CallFunctionObjArgs(core->fail, value ? value : Py_None, NULL);
    if (!result)
        PyErr_WriteUnraisable(core->fail);
    Py_XDECREF(result);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

static void call(Core *core, PyObject *callback)
{
    PyObject *result;

    Py_INCREF(callback); /* it may pull itself */
    result = PyObject_CallNoArgs(callback);
    if (result)
        Py_DECREF(result);
    else
        failed(core);
    Py_DECREF(callback);
}

static void call_with(Core *core, PyObject *function, PyObject *argument)
{
    PyObject *result = argument ? PyObject_CallFunctionObjArgs(function, argument, NULL) : NULL;

    if (result)
        Py_DECREF(result);
    else
        failed(core);
}

/* An interrupt is pending that the processor does not accept yet, and time has not come to look at what else there is. */
static bool waits_on(const Core *core)
{
    return core->words->deadline == WAITING && core->accepts && core->words->now < core->state->patience && !(*core->accepts & core->accepted);
}

void look(Core *core)
{
    core->special = core->blocks->used || core->state->fired != NOWHERE;
}

/* A block at which something happens: the deadline, a probe, or coming back to where the run was stopped. */
static __attribute__((noinline)) void on_special_block(Core *core, uint64_t address, uint32_t size)
{
    struct state *state = core->state;
    void *uc = core->uc;
    PyObject *callback;

    state->pc = address;
    if (core->words->now >= core->words->deadline && !waits_on(core)) {
        call(core, core->attend);
        if (state->stopping) {
            core->emu_stop(uc);
            return;
        }
        if (state->kick) {
            state->kick = 0;
            *core->exit_request = UINT16_MAX;
            return; /* the block is entered again once the interrupt is dealt with */
        }
    }
    callback = table_get(core->blocks, address);
    if (callback) {
        if (state->fired != address) {
            call(core, callback);
            if (state->stopping) {
                state->fired = address;
                core->emu_stop(uc);
                return;
            }
        }
        state->fired = NOWHERE;
    } else if (state->fired != address) {
        state->fired = NOWHERE;
    }
    state->block = address;
    state->size = size;
    core->words->now += size;
    look(core);
}

/*
 * Called for every block that executes: no register is saved and nothing called on the usual way through. Stores are what a tight loop
 * waits for, so a block that follows itself leaves the words as they are. The usual way lies in one line of the cache.
 */
__attribute__((aligned(64))) void on_block(void *uc, uint64_t address, uint32_t size, void *user)
{
    Core *core = user;
    struct state *state = core->state;
    struct words *words = core->words;
    uint64_t now = words->now;

    if (__builtin_expect(now >= words->deadline, 0) ||
        (__builtin_expect(core->special, 0) && (passes(core->blocks->filter, address) || state->fired != NOWHERE))) {
        on_special_block(core, address, size);
        return;
    }
    if (state->block != address || state->size != size) {
        state->block = address;
        state->size = size;
    }
    words->now = now + size;
}

void on_code(void *uc, uint64_t address, uint32_t size, void *user)
{
    Core *core = user;
    struct state *state = core->state;
    PyObject *callback = table_get(core->exact, address);

    if (!callback)
        return;
    if (state->fired == address) {
        state->fired = NOWHERE;
        return;
    }
    state->pc = address;
    call(core, callback);
    if (state->stopping) {
        state->fired = address;
        core->words->now -= state->block + state->size - address;
        state->size = 0;
        core->emu_stop(uc);
    }
}

/* The page-table entry of a page, 0 without one. */
static uint64_t lookup(Core *core, uint64_t page)
{
    PyObject *key = PyLong_FromUnsignedLongLong(page), *value;
    uint64_t entry = 0;

    if (key) {
        value = PyDict_GetItemWithError(core->pages, key);
        if (value)
            entry = PyLong_AsUnsignedLongLong(value);
        Py_DECREF(key);
    }
    if (PyErr_Occurred())
        failed(core);
    return entry;
}

static uint64_t missed(Core *core, uint64_t address, int access)
{
    PyObject *result = PyObject_CallFunction(core->miss, "Ki", (unsigned long long)address, access);
    uint64_t entry = result ? PyLong_AsUnsignedLongLong(result) : 0;

    Py_XDECREF(result);
    if (PyErr_Occurred()) {
        failed(core);
        entry = 0;
    }
    return entry;
}

bool on_fill(void *uc, uint64_t address, int kind, struct tlb_entry *result, void *user)
{
    Core *core = user;
    struct state *state = core->state;
    int access = 1 << (kind - MEM_READ);
    uint64_t entry;
    uint32_t rights;

    if (++state->fills > state->grow_at) {
        state->growth = 2 * state->growth < LAST_GROWTH ? 2 * state->growth : LAST_GROWTH;
        state->grow_at = state->fills + state->growth;
        core->ctl(uc, core->tlb_flush);
    }
    entry = lookup(core, address >> 12);
    if (!(entry & access) || (access == X && !(entry & EXECUTED)) || (access == W && entry & SHARED)) {
        entry = missed(core, address, access);
        if (!entry)
            return false;
    }
    rights = entry & (R | W | X);
    if (entry & EXECUTED) {
        if (rights & W)
            rights |= X;
    } else if (access != X) {
        rights &= ~X;
    }
    if (entry & SHARED && access != W)
        rights &= ~W;
    result->paddr = entry & ~UINT64_C(0xfff);
    result->perms = rights | access;
    return true;
}

void on_syscall(void *uc, void *user)
{
    Core *core = user;
    struct state *state = core->state;
    PyObject *go_on;

    state->pc = state->block + state->size;
    if (core->link) {
        uint64_t flags = 0;
        core->reg_read(uc, core->flags, &flags);
        *core->link = state->pc;
        *core->saved_flags = flags;
    }
    go_on = PyObject_CallNoArgs(core->enter);
    if (!go_on)
        failed(core);
    look(core);
    if (go_on != Py_True)
        state->left = 1;
    Py_XDECREF(go_on);
    if (state->left || state->stopping)
        core->emu_stop(uc);
}

/* The same as `hit` where nothing has to be asked. */
static void hit_plain(Core *core, Trap *trap, uint64_t address)
{
    struct state *state = core->state;
    PyObject *result;
    uint64_t slot = trap->slot;

    if (state->fired != address) {
        Py_INCREF((PyObject *)trap); /* it may remove itself */
        result = PyObject_CallNoArgs(trap->handler);
        Py_DECREF((PyObject *)trap);
        if (!result) {
            failed(core);
            *core->pc = address;
            state->fired = address;
            return;
        }
        Py_DECREF(result);
    }
    state->fired = NOWHERE;
    core->words->now += core->trap_cost;
    *core->pc = slot;
}

/* Where the guest goes on after a breakpoint of ours; false: it is none, or the callback says so. */
static bool hit(Core *core, PyObject *callback, uint64_t address)
{
    struct state *state = core->state;
    PyObject *going;
    bool ours;

    if (state->fired == address) {
        PyObject *step = PyObject_GetAttrString(callback, "step");

        going = step ? PyObject_CallNoArgs(step) : NULL;
        Py_XDECREF(step);
    } else {
        Py_INCREF(callback); /* it may remove itself */
        going = PyObject_CallNoArgs(callback);
        Py_DECREF(callback);
    }
    state->fired = NOWHERE;
    if (!going) {
        failed(core);
        going = PyLong_FromUnsignedLongLong(address);
        state->fired = address;
    }
    ours = going != Py_None;
    if (ours) {
        core->words->now += core->trap_cost;
        if (core->pc) {
            *core->pc = PyLong_AsUnsignedLongLong(going);
            if (PyErr_Occurred())
                failed(core);
        } else {
            call_with(core, core->go_to, going);
        }
    }
    Py_XDECREF(going);
    return ours;
}

/* Whether the exception is a breakpoint of ours, which is dealt with then. */
bool on_trap(void *uc, uint32_t number, void *user)
{
    Core *core = user;
    struct state *state = core->state;
    PyObject *callback, *result;
    uint64_t address;

    if ((int)number != core->trap || !core->traps->used)
        return false;
    if (core->pc) {
        address = *core->pc - core->trap_advance;
    } else {
        result = PyObject_CallNoArgs(core->trap_address);
        address = result ? PyLong_AsUnsignedLongLong(result) : 0;
        Py_XDECREF(result);
        if (PyErr_Occurred())
            failed(core);
    }
    callback = table_get(core->traps, address);
    if (!callback)
        return false;
    state->pc = address;
    if (Py_IS_TYPE(callback, core->trap_type) && core->pc)
        hit_plain(core, (Trap *)callback, address);
    else if (!hit(core, callback, address))
        return false;
    if (state->stopping || state->left)
        core->emu_stop(uc);
    return true;
}

void on_interrupt(void *uc, uint32_t number, void *user)
{
    Core *core = user;
    PyObject *argument;

    if (on_trap(uc, number, user))
        return;
    argument = PyLong_FromUnsignedLong(number);
    call_with(core, core->interrupted, argument);
    Py_XDECREF(argument);
}
