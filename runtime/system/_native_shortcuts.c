/* Shorter ways through the emulator; what they rest on is in shortcuts.py. */
#include "_native_machines.h"

enum { FETCH = 2 };                     /* MMUAccessType */
enum { WRITABLE = 2, EXECUTABLE = 4 };  /* PAGE_WRITE, PAGE_EXEC */
enum { EXACT = 64 };
enum { FIRST_GROWTH = 1024, LAST_GROWTH = 1 << 18 };

typedef struct {
    struct machine machine;
    void *region;                       /* what RAM is to the emulator */
    uint64_t base, size;
    bool fetching;                      /* the translation buffer is being filled for an instruction */
    uint64_t fills, grow_at, growth;
    void (*flush)(void *cpu);
    uint8_t *unchecked;                 /* uc_struct.no_exit_request, or NULL */
    unsigned n;
    uint64_t exact[EXACT];              /* where a stop may be asked for in the middle of a block */
} Shortcuts;

static struct machine *machines;

static struct {                         /* the emulator's own functions */
    void *(*mapping)(void *uc, uint64_t address);
    bool (*fill)(void *cpu, uint64_t address, int size, int access, int index, bool probe, uint64_t from);
    void (*set_page)(void *cpu, uint64_t address, uint64_t physical, uint64_t attributes, int rights, int index, uint64_t size);
    void *(*translate)(void *cpu, uint64_t pc, uint64_t base, uint32_t flags, int settings);
} plain[ARCHITECTURES];

static inline void *mapping(int arch, void *uc, uint64_t address)
{
    Shortcuts *of = machine_of(machines, uc);

    return of && address - of->base < of->size ? of->region : plain[arch].mapping(uc, address);
}

/* May be left by a jump, when the page tables have no such page. */
static inline bool fill(int arch, void *cpu, uint64_t address, int size, int access, int index, bool probe, uint64_t from)
{
    Shortcuts *of = machine_with(machines, cpu);

    if (of)
        of->fetching = access == FETCH;
    return plain[arch].fill(cpu, address, size, access, index, probe, from);
}

static inline void set_page(int arch, void *cpu, uint64_t address, uint64_t physical, uint64_t attributes, int rights, int index, uint64_t size)
{
    Shortcuts *of = machine_with(machines, cpu);

    if (of) {
        if (!of->fetching && rights & WRITABLE)
            rights &= ~EXECUTABLE;
        if (++of->fills > of->grow_at) {
            of->growth = of->growth < LAST_GROWTH ? 2 * of->growth : of->growth;
            of->grow_at = of->fills + of->growth;
            of->flush(cpu);
        }
    }
    plain[arch].set_page(cpu, address, physical, attributes, rights, index, size);
}

/* Whether a block that begins at `pc`, which ends with its page or before the next one does, may have an exact point. */
static bool near_exact(const Shortcuts *of, uint64_t pc)
{
    for (unsigned i = 0; i < of->n; i++)
        if (of->exact[i] - pc < PAGE)
            return true;
    return of->n == EXACT;
}

static inline void *translate(int arch, void *cpu, uint64_t pc, uint64_t base, uint32_t flags, int settings)
{
    Shortcuts *of = machine_with(machines, cpu);

    if (of && of->unchecked)
        *of->unchecked = !near_exact(of, pc);
    return plain[arch].translate(cpu, pc, base, flags, settings);
}

#define FUNCTIONS(name, arch) \
    static void *mapping_##name(void *uc, uint64_t address) { return mapping(arch, uc, address); } \
    static bool fill_##name(void *cpu, uint64_t address, int size, int access, int index, bool probe, uint64_t from) \
    { \
        return fill(arch, cpu, address, size, access, index, probe, from); \
    } \
    static void set_page_##name(void *cpu, uint64_t address, uint64_t physical, uint64_t attributes, int rights, int index, uint64_t size) \
    { \
        set_page(arch, cpu, address, physical, attributes, rights, index, size); \
    } \
    static void *translate_##name(void *cpu, uint64_t pc, uint64_t base, uint32_t flags, int settings) \
    { \
        return translate(arch, cpu, pc, base, flags, settings); \
    }

FUNCTIONS(arm64, ARM64)
FUNCTIONS(x86_64, X86_64)

static const struct {
    void *mapping, *fill, *set_page, *translate;
} ours[ARCHITECTURES] = {
    [ARM64] = {(void *)mapping_arm64, (void *)fill_arm64, (void *)set_page_arm64, (void *)translate_arm64},
    [X86_64] = {(void *)mapping_x86_64, (void *)fill_x86_64, (void *)set_page_x86_64, (void *)translate_x86_64},
};

static PyObject *Shortcuts_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"arch", "uc", "cpu", "region", "base", "size", "flush", "unchecked", "mapping", "fill", "set_page", "translate",
                            "mapping_place", "fill_places", "set_page_slot", "translate_slot", NULL};
    unsigned long long uc, cpu, region, base, size, flush, unchecked, own_mapping, own_fill, own_set_page, own_translate;
    unsigned long long mapping_place, fill_places[2], set_page_slot, translate_slot;
    int arch;
    Shortcuts *of;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "pKKKKKKKKKKKK(KK)KK", names, &arch, &uc, &cpu, &region, &base, &size, &flush, &unchecked,
                                     &own_mapping, &own_fill, &own_set_page, &own_translate, &mapping_place, &fill_places[0],
                                     &fill_places[1], &set_page_slot, &translate_slot))
        return NULL;
    of = new_object(type);
    if (!of)
        return NULL;
    of->machine.uc = POINTER(uc);
    of->machine.cpu = POINTER(cpu);
    of->region = POINTER(region);
    of->base = base;
    of->size = size;
    of->grow_at = of->growth = FIRST_GROWTH;
    of->flush = POINTER(flush);
    of->unchecked = POINTER(unchecked);
    plain[arch].mapping = POINTER(own_mapping);
    plain[arch].fill = POINTER(own_fill);
    plain[arch].set_page = POINTER(own_set_page);
    plain[arch].translate = POINTER(own_translate);
    enlist(&machines, of);
    put(mapping_place, ours[arch].mapping);
    put(fill_places[0], ours[arch].fill);
    put(fill_places[1], ours[arch].fill);
    put(set_page_slot, ours[arch].set_page);
    put(translate_slot, ours[arch].translate);
    return (PyObject *)of;
}

static PyObject *Shortcuts_expect_stop(PyObject *self, PyObject *arg)
{
    Shortcuts *of = (Shortcuts *)self;
    uint64_t address = PyLong_AsUnsignedLongLong(arg);

    if (PyErr_Occurred())
        return NULL;
    if (of->n < EXACT)
        of->exact[of->n++] = address;
    Py_RETURN_NONE;
}

static void Shortcuts_dealloc(PyObject *self)
{
    strike(&machines, self);
    free_object(self);
}

static PyMethodDef Shortcuts_methods[] = {
    {"expect_stop", Shortcuts_expect_stop, METH_O, "expect_stop(address): a stop may be asked for before that instruction is executed."},
    {NULL},
};

static PyType_Slot Shortcuts_slots[] = {
    {Py_tp_doc, "Has one machine take shorter ways, as long as it lives; see shortcuts.py."},
    {Py_tp_new, Shortcuts_new},
    {Py_tp_dealloc, Shortcuts_dealloc},
    {Py_tp_methods, Shortcuts_methods},
    {0, NULL},
};

PyType_Spec Shortcuts_spec = {
    "pyprobe.runtime.system._native.Shortcuts", sizeof(Shortcuts), 0, Py_TPFLAGS_DEFAULT, Shortcuts_slots,
};
