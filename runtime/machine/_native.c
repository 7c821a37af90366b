/*
 * The engine's hot callbacks in C. Every rule here stands in twin.py too, in the same order; one set of tests runs both.
 *
 * libunicorn is not linked: the addresses of the two functions called are handed in at run time, so this builds with a C
 * compiler and Python's headers alone, and against the limited API, so one build serves every Python from 3.11 on.
 *
 * The callbacks run inside uc_emu_start, which the engine calls without giving up the interpreter's lock.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#define NOWHERE UINT64_MAX
#define LAST_GROWTH (1u << 18)

enum { R = 1, W = 2, X = 4, EXECUTED = 32, SHARED = 64 }; /* memory.py */
enum { MEM_READ = 16 };                                   /* uc_mem_type */

struct state { /* state.py */
    uint64_t pc, block, size, fired, stopping, left, fills, grow_at, growth, kick;
};

struct words { /* ClockWords of clock.py */
    uint64_t now, deadline;
};

struct tlb_entry { /* uc_tlb_entry */
    uint64_t paddr;
    uint32_t perms;
};

/*
 * A hash table from addresses to callables: open addressing, linear probing, at most a quarter full. In front of it stands a
 * filter, one counter for a class of addresses, because almost every block that is looked up has no probe.
 */

#define FILTER 2048
#define STICKY UINT8_MAX /* a counter that reached this is not counted down any more */

struct slot {
    uint64_t address;
    PyObject *callback; /* NULL: free */
};

typedef struct {
    PyObject_HEAD
    struct slot *slots;
    uint64_t mask;
    unsigned shift;
    Py_ssize_t used;
    uint8_t filter[FILTER];
} Table;

static inline unsigned class_of(uint64_t address)
{
    return (address ^ address >> 11) & (FILTER - 1);
}

static inline uint64_t home(const Table *table, uint64_t address)
{
    return (address * UINT64_C(0x9E3779B97F4A7C15)) >> table->shift & table->mask;
}

static inline PyObject *table_get(const Table *table, uint64_t address)
{
    uint64_t i = home(table, address);

    while (table->slots[i].callback) {
        if (table->slots[i].address == address)
            return table->slots[i].callback;
        i = (i + 1) & table->mask;
    }
    return NULL;
}

static int table_allocate(Table *table, unsigned bits)
{
    table->slots = PyMem_Calloc((size_t)1 << bits, sizeof(struct slot));
    if (!table->slots) {
        PyErr_NoMemory();
        return -1;
    }
    table->mask = (UINT64_C(1) << bits) - 1;
    table->shift = 64 - bits;
    return 0;
}

static void place(Table *table, uint64_t address, PyObject *callback)
{
    uint64_t i = home(table, address);

    while (table->slots[i].callback)
        i = (i + 1) & table->mask;
    table->slots[i].address = address;
    table->slots[i].callback = callback;
}

static void count(Table *table, uint64_t address)
{
    uint8_t *counter = &table->filter[class_of(address)];

    if (*counter != STICKY)
        ++*counter;
    table->used++;
}

static PyObject *Table_set(PyObject *self, PyObject *args)
{
    Table *table = (Table *)self;
    unsigned long long address;
    PyObject *callback;

    if (!PyArg_ParseTuple(args, "KO", &address, &callback))
        return NULL;
    for (uint64_t i = home(table, address); table->slots[i].callback; i = (i + 1) & table->mask)
        if (table->slots[i].address == address) {
            PyObject *old = table->slots[i].callback;
            table->slots[i].callback = Py_NewRef(callback);
            Py_DECREF(old);
            Py_RETURN_NONE;
        }
    if ((uint64_t)(table->used + 1) * 4 > table->mask + 1) {
        struct slot *old = table->slots;
        uint64_t n = table->mask + 1;

        if (table_allocate(table, 64 - table->shift + 1) < 0) {
            table->slots = old;
            return NULL;
        }
        for (uint64_t i = 0; i < n; i++)
            if (old[i].callback)
                place(table, old[i].address, old[i].callback);
        PyMem_Free(old);
    }
    place(table, address, Py_NewRef(callback));
    count(table, address);
    Py_RETURN_NONE;
}

static PyObject *Table_delete(PyObject *self, PyObject *arg)
{
    Table *table = (Table *)self;
    uint64_t address = PyLong_AsUnsignedLongLong(arg), i, j;
    PyObject *old;

    if (PyErr_Occurred())
        return NULL;
    for (i = home(table, address); table->slots[i].callback; i = (i + 1) & table->mask)
        if (table->slots[i].address == address)
            break;
    old = table->slots[i].callback;
    if (!old)
        Py_RETURN_NONE;
    /* Close the gap, so that no search ends early: move up whoever may not be reached past it. */
    for (j = (i + 1) & table->mask; table->slots[j].callback; j = (j + 1) & table->mask) {
        uint64_t h = home(table, table->slots[j].address);
        if (((j - h) & table->mask) >= ((j - i) & table->mask)) {
            table->slots[i] = table->slots[j];
            i = j;
        }
    }
    table->slots[i].callback = NULL;
    table->used--;
    if (table->filter[class_of(address)] != STICKY)
        table->filter[class_of(address)]--;
    Py_DECREF(old);
    Py_RETURN_NONE;
}

static PyObject *Table_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *dict, *key, *value;
    Py_ssize_t position = 0;
    unsigned bits = 3;
    Table *table;

    if (!PyArg_ParseTuple(args, "O!", &PyDict_Type, &dict))
        return NULL;
    table = (Table *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!table)
        return NULL;
    while ((Py_ssize_t)1 << bits < 4 * PyDict_Size(dict))
        bits++;
    if (table_allocate(table, bits) < 0) {
        Py_DECREF(table);
        return NULL;
    }
    while (PyDict_Next(dict, &position, &key, &value)) {
        uint64_t address = PyLong_AsUnsignedLongLong(key);
        if (PyErr_Occurred()) {
            Py_DECREF(table);
            return NULL;
        }
        place(table, address, Py_NewRef(value));
        count(table, address);
    }
    return (PyObject *)table;
}

static int Table_traverse(PyObject *self, visitproc visit, void *arg)
{
    Table *table = (Table *)self;

    Py_VISIT(Py_TYPE(self));
    if (table->slots)
        for (uint64_t i = 0; i <= table->mask; i++)
            Py_VISIT(table->slots[i].callback);
    return 0;
}

static int Table_clear(PyObject *self)
{
    Table *table = (Table *)self;

    if (table->slots)
        for (uint64_t i = 0; i <= table->mask; i++)
            Py_CLEAR(table->slots[i].callback);
    table->used = 0;
    return 0;
}

static void Table_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Table_clear(self);
    PyMem_Free(((Table *)self)->slots);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef Table_methods[] = {
    {"set", Table_set, METH_VARARGS, "set(address, callback): add or replace."},
    {"delete", Table_delete, METH_O, "delete(address): remove if there."},
    {NULL},
};

static PyType_Slot Table_slots[] = {
    {Py_tp_doc, "Table({address: callback}): callables by address, for Core."},
    {Py_tp_new, Table_new},
    {Py_tp_dealloc, Table_dealloc},
    {Py_tp_traverse, Table_traverse},
    {Py_tp_clear, Table_clear},
    {Py_tp_methods, Table_methods},
    {0, NULL},
};

static PyType_Spec Table_spec = {
    "pyprobe.runtime.machine._native.Table", sizeof(Table), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, Table_slots,
};

/*
 * What stands in a Table of traps for a breakpoint whose displaced instruction simply runs in its slot: the handler, and the slot.
 * Other traps are Python callables, which say where to go on.
 */

typedef struct {
    PyObject_HEAD
    PyObject *handler;
    uint64_t slot;
} Trap;

static PyObject *Trap_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    unsigned long long slot;
    PyObject *handler;
    Trap *trap;

    if (!PyArg_ParseTuple(args, "OK", &handler, &slot))
        return NULL;
    trap = (Trap *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!trap)
        return NULL;
    trap->handler = Py_NewRef(handler);
    trap->slot = slot;
    return (PyObject *)trap;
}

static int Trap_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Trap *)self)->handler);
    return 0;
}

static int Trap_clear(PyObject *self)
{
    Py_CLEAR(((Trap *)self)->handler);
    return 0;
}

static void Trap_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Trap_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyType_Slot Trap_slots[] = {
    {Py_tp_doc, "Trap(handler, slot): a breakpoint, for a Table."},
    {Py_tp_new, Trap_new},
    {Py_tp_dealloc, Trap_dealloc},
    {Py_tp_traverse, Trap_traverse},
    {Py_tp_clear, Trap_clear},
    {0, NULL},
};

static PyType_Spec Trap_spec = {
    "pyprobe.runtime.machine._native.Trap", sizeof(Trap), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, Trap_slots,
};

/* The callbacks of one engine. `user` of every hook is the Core. */

typedef struct {
    PyObject_HEAD
    struct state *state;
    struct words *words;
    void *uc;
    int (*emu_start)(void *uc, uint64_t begin, uint64_t until, uint64_t timeout, size_t count);
    int (*emu_stop)(void *uc);
    int (*reg_read)(void *uc, int number, void *value);
    int (*ctl)(void *uc, int control, ...);
    int tlb_flush;                      /* control word */
    uint16_t *exit_request;             /* half of the emulator's counter that makes it leave the block, or NULL */
    uint64_t *link, *saved_flags;       /* registers that the syscall instruction sets, or NULL */
    int flags;                          /* number of the register that goes into saved_flags */
    uint64_t *pc;                       /* the guest's pc in the CPU state, or NULL */
    int trap, trap_advance, trap_cost;  /* breakpoints: exception, how far the pc is behind it, what a hit adds to the clock */
    PyObject *attend, *enter, *miss, *fail, *interrupted, *trap_address, *go_to;
    PyTypeObject *trap_type;
    PyObject *pages;
    Table *blocks, *exact, *traps;
} Core;

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

/* A block at which something happens: the deadline, a probe, or coming back to where the run was stopped. */
static __attribute__((noinline)) void on_special_block(void *uc, uint64_t address, uint32_t size, Core *core)
{
    struct state *state = core->state;
    PyObject *callback;

    state->pc = address;
    if (core->words->now >= core->words->deadline) {
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
}

/* Called for every block that executes: no register is saved and nothing called on the usual way through. */
static void on_block(void *uc, uint64_t address, uint32_t size, void *user)
{
    Core *core = user;
    struct state *state = core->state;
    struct words *words = core->words;
    uint64_t now = words->now;

    if (__builtin_expect(now >= words->deadline || core->blocks->filter[class_of(address)] || state->fired != NOWHERE, 0)) {
        on_special_block(uc, address, size, core);
        return;
    }
    state->block = address;
    state->size = size;
    words->now = now + size;
}

static void on_code(void *uc, uint64_t address, uint32_t size, void *user)
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

static bool on_fill(void *uc, uint64_t address, int kind, struct tlb_entry *result, void *user)
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

static void on_syscall(void *uc, void *user)
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
static bool on_trap(void *uc, uint32_t number, void *user)
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

static void on_interrupt(void *uc, uint32_t number, void *user)
{
    Core *core = user;
    PyObject *argument;

    if (on_trap(uc, number, user))
        return;
    argument = PyLong_FromUnsignedLong(number);
    call_with(core, core->interrupted, argument);
    Py_XDECREF(argument);
}

static PyObject *Core_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"state", "words", "uc", "emu_start", "emu_stop", "reg_read", "ctl", "tlb_flush",
                            "attend", "enter", "miss", "fail", NULL};
    unsigned long long state, words, uc, emu_start, emu_stop, reg_read, ctl;
    PyObject *attend, *enter, *miss, *fail;
    int tlb_flush;
    Core *core;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "KKKKKKKiOOOO", names, &state, &words, &uc, &emu_start, &emu_stop, &reg_read,
                                     &ctl, &tlb_flush, &attend, &enter, &miss, &fail))
        return NULL;
    core = (Core *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!core)
        return NULL;
    core->state = (struct state *)(uintptr_t)state;
    core->words = (struct words *)(uintptr_t)words;
    core->uc = (void *)(uintptr_t)uc;
    core->emu_start = (int (*)(void *, uint64_t, uint64_t, uint64_t, size_t))(uintptr_t)emu_start;
    core->emu_stop = (int (*)(void *))(uintptr_t)emu_stop;
    core->reg_read = (int (*)(void *, int, void *))(uintptr_t)reg_read;
    core->ctl = (int (*)(void *, int, ...))(uintptr_t)ctl;
    core->tlb_flush = tlb_flush;
    core->attend = Py_NewRef(attend);
    core->enter = Py_NewRef(enter);
    core->miss = Py_NewRef(miss);
    core->fail = Py_NewRef(fail);
    core->trap = -1;
    return (PyObject *)core;
}

static PyObject *Core_activate(PyObject *self, PyObject *args)
{
    Core *core = (Core *)self;
    PyObject *pages, *blocks, *exact, *traps, *old[4];

    if (!PyArg_ParseTuple(args, "O!OOO", &PyDict_Type, &pages, &blocks, &exact, &traps))
        return NULL;
    old[0] = core->pages;
    old[1] = (PyObject *)core->blocks;
    old[2] = (PyObject *)core->exact;
    old[3] = (PyObject *)core->traps;
    core->pages = Py_NewRef(pages);
    core->blocks = (Table *)Py_NewRef(blocks);
    core->exact = (Table *)Py_NewRef(exact);
    core->traps = (Table *)Py_NewRef(traps);
    for (int i = 0; i < 4; i++)
        Py_XDECREF(old[i]);
    Py_RETURN_NONE;
}

static int Core_traverse(PyObject *self, visitproc visit, void *arg)
{
    Core *core = (Core *)self;

    Py_VISIT(Py_TYPE(self));
    Py_VISIT(core->attend);
    Py_VISIT(core->enter);
    Py_VISIT(core->miss);
    Py_VISIT(core->fail);
    Py_VISIT(core->pages);
    Py_VISIT(core->blocks);
    Py_VISIT(core->exact);
    Py_VISIT(core->traps);
    Py_VISIT(core->interrupted);
    Py_VISIT(core->trap_type);
    Py_VISIT(core->trap_address);
    Py_VISIT(core->go_to);
    return 0;
}

static int Core_clear(PyObject *self)
{
    Core *core = (Core *)self;

    Py_CLEAR(core->attend);
    Py_CLEAR(core->enter);
    Py_CLEAR(core->miss);
    Py_CLEAR(core->fail);
    Py_CLEAR(core->pages);
    Py_CLEAR(core->blocks);
    Py_CLEAR(core->exact);
    Py_CLEAR(core->traps);
    Py_CLEAR(core->interrupted);
    Py_CLEAR(core->trap_type);
    Py_CLEAR(core->trap_address);
    Py_CLEAR(core->go_to);
    return 0;
}

static void Core_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Core_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *Core_addresses(PyObject *self, PyObject *unused)
{
    return Py_BuildValue("KKKKKKK", (unsigned long long)(uintptr_t)on_block, (unsigned long long)(uintptr_t)on_code,
                         (unsigned long long)(uintptr_t)on_fill, (unsigned long long)(uintptr_t)on_syscall,
                         (unsigned long long)(uintptr_t)on_interrupt, (unsigned long long)(uintptr_t)on_trap,
                         (unsigned long long)(uintptr_t)self);
}

static PyObject *Core_traces(PyObject *self, PyObject *args)
{
    Core *core = (Core *)self;
    unsigned long long link, saved_flags;

    if (!PyArg_ParseTuple(args, "KKi", &link, &saved_flags, &core->flags))
        return NULL;
    core->link = (uint64_t *)(uintptr_t)link;
    core->saved_flags = (uint64_t *)(uintptr_t)saved_flags;
    Py_RETURN_NONE;
}

static PyObject *Core_breakpoints(PyObject *self, PyObject *args)
{
    Core *core = (Core *)self;
    PyObject *interrupted, *trap_address, *go_to, *trap_type;
    unsigned long long pc;

    if (!PyArg_ParseTuple(args, "KiiiOOOO", &pc, &core->trap, &core->trap_advance, &core->trap_cost, &interrupted, &trap_address, &go_to,
                          &trap_type))
        return NULL;
    core->pc = (uint64_t *)(uintptr_t)pc;
    core->interrupted = Py_NewRef(interrupted);
    core->trap_type = (PyTypeObject *)Py_NewRef(trap_type);
    core->trap_address = Py_NewRef(trap_address);
    core->go_to = Py_NewRef(go_to);
    Py_RETURN_NONE;
}

static PyObject *Core_kicks(PyObject *self, PyObject *arg)
{
    uint64_t address = PyLong_AsUnsignedLongLong(arg);

    if (PyErr_Occurred())
        return NULL;
    ((Core *)self)->exit_request = (uint16_t *)(uintptr_t)address;
    Py_RETURN_NONE;
}

static PyObject *Core_start(PyObject *self, PyObject *unused)
{
    Core *core = (Core *)self;

    return PyLong_FromLong(core->emu_start(core->uc, core->state->pc, 0, 0, 0));
}

static PyObject *Core_flush(PyObject *self, PyObject *unused)
{
    Core *core = (Core *)self;

    core->ctl(core->uc, core->tlb_flush);
    Py_RETURN_NONE;
}

static PyMethodDef Core_methods[] = {
    {"traces", Core_traces, METH_VARARGS,
     "traces(link, saved_flags, flags): where the syscall instruction leaves the pc and the flags; addresses, register number."},
    {"breakpoints", Core_breakpoints, METH_VARARGS,
     "breakpoints(pc, trap, advance, cost, interrupted, trap_address, go_to, Trap): for the interrupt callback; pc: address of the pc or 0."},
    {"kicks", Core_kicks, METH_O, "kicks(address): the 16-bit word to fill with ones when state.kick asks for it."},
    {"start", Core_start, METH_NOARGS, "Run from state.pc; returns libunicorn's error."},
    {"flush", Core_flush, METH_NOARGS, "Empty the translation buffer."},
    {"activate", Core_activate, METH_VARARGS, "activate(pages, blocks, exact, traps): page table and Tables of the current space."},
    {"addresses", Core_addresses, METH_NOARGS, "Addresses of the block, code, fill, syscall, interrupt and trap callbacks, and their user data."},
    {NULL},
};

static PyType_Slot Core_slots[] = {
    {Py_tp_doc, "The callbacks of one engine; see twin.py."},
    {Py_tp_new, Core_new},
    {Py_tp_dealloc, Core_dealloc},
    {Py_tp_traverse, Core_traverse},
    {Py_tp_clear, Core_clear},
    {Py_tp_methods, Core_methods},
    {0, NULL},
};

static PyType_Spec Core_spec = {
    "pyprobe.runtime.machine._native.Core", sizeof(Core), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, Core_slots,
};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);
    int error;

    if (!type)
        return -1;
    error = PyModule_AddObjectRef(module, name, type);
    Py_DECREF(type);
    return error;
}

static int execute(PyObject *module)
{
    if (add_type(module, "Table", &Table_spec) < 0 || add_type(module, "Trap", &Trap_spec) < 0 || add_type(module, "Core", &Core_spec) < 0)
        return -1;
    return PyModule_AddStringConstant(module, "SOURCE", SOURCE);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_doc = "The engine's hot callbacks.", .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
