/* The module: the callbacks of both architectures, and what keeps translations in step with RAM. */
#include "_native.h"

static int execute(PyObject *module)
{
    if (add_type(module, &Glue_spec) < 0 || add_type(module, &Entry_spec) < 0 || add_type(module, &Coherence_spec) < 0
        || add_type(module, &Shortcuts_spec) < 0)
        return -1;
    return PyModule_AddStringConstant(module, "SOURCE", SOURCE);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_doc = "What a booted kernel does most often.", .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
