/*
 * The parts of the user machine's extension: the tables of what is called at an address (_native_table.c), the callbacks that consult them
 * (_native_callbacks.c), and the object that holds both together (_native.c). Every rule stands in twin.py too, in the same order; one set
 * of tests runs both.
 */
#ifndef PYPROBE_NATIVE_H
#define PYPROBE_NATIVE_H

#include "_native_common.h"

/*
 * A hash table from addresses to callables: open addressing, linear probing, at most a quarter full. In front of it stands a
 * filter, one bit for a class of addresses, because almost every block that is looked up has no probe. Addresses of one class
 * are looked for from the same slot on, so that it can be told there whether one is left.
 */

#define CLASSES 65536

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
    uint64_t filter[CLASSES / 64];
} Table;

static inline unsigned class_of(uint64_t address)
{
    return (address ^ address >> 16) & (CLASSES - 1);
}

static inline bool passes(const uint64_t *filter, uint64_t address)
{
    unsigned class = class_of(address);

    return filter[class / 64] >> class % 64 & 1;
}

static inline uint64_t home(const Table *table, uint64_t address)
{
    return (class_of(address) * UINT64_C(0x9E3779B97F4A7C15)) >> table->shift & table->mask;
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

extern PyType_Spec Table_spec;

/*
 * What stands in a Table of traps for a breakpoint whose displaced instruction simply runs in its slot: the handler, and the slot.
 * Other traps are Python callables, which say where to go on.
 */

typedef struct {
    PyObject_HEAD
    PyObject *handler;
    uint64_t slot;
} Trap;

extern PyType_Spec Trap_spec;
extern PyType_Spec Translation_spec;

struct state { /* state.py */
    uint64_t pc, block, size, fired, stopping, left, fills, grow_at, growth, kick, patience;
};

struct tlb_entry { /* uc_tlb_entry */
    uint64_t paddr;
    uint32_t perms;
};

/* The callbacks of one engine. `user` of every hook is the Core. */

typedef struct {
    PyObject_HEAD
    struct state *state;
    struct words *words;
    bool special; /* whether a block may be one at which something happens: see look() */
    void *uc;
    int (*emu_start)(void *uc, uint64_t begin, uint64_t until, uint64_t timeout, size_t count);
    int (*emu_stop)(void *uc);
    int (*reg_read)(void *uc, int number, void *value);
    int (*ctl)(void *uc, int control, ...);
    int tlb_flush;                      /* control word */
    const uint64_t *accepts;            /* the register that says whether interrupts are accepted, or NULL */
    uint64_t accepted;                  /* its bit */
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

void look(Core *core); /* after `blocks` or `fired` has changed */

void on_block(void *uc, uint64_t address, uint32_t size, void *user);
void on_code(void *uc, uint64_t address, uint32_t size, void *user);
bool on_fill(void *uc, uint64_t address, int kind, struct tlb_entry *result, void *user);
void on_syscall(void *uc, void *user);
void on_interrupt(void *uc, uint32_t number, void *user);
bool on_trap(void *uc, uint32_t number, void *user);

#endif
