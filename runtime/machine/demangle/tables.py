"""What single codes of mangled C++ names stand for (Itanium C++ ABI, 5.1.3 to 5.1.5)."""

from __future__ import annotations

BUILTIN = {
    "v": "void", "w": "wchar_t", "b": "bool", "c": "char", "a": "signed char", "h": "unsigned char", "s": "short", "t": "unsigned short",
    "i": "int", "j": "unsigned int", "l": "long", "m": "unsigned long", "x": "long long", "y": "unsigned long long", "n": "__int128",
    "o": "unsigned __int128", "f": "float", "d": "double", "e": "long double", "g": "__float128", "z": "...",
}  # fmt: skip
BUILTIN_D = {
    "d": "decimal64", "e": "decimal128", "f": "decimal32", "h": "half", "i": "char32_t", "s": "char16_t", "u": "char8_t", "a": "auto",
    "c": "decltype(auto)", "n": "decltype(nullptr)",
}  # fmt: skip
QUALIFIERS = {"r": " restrict", "V": " volatile", "K": " const"}
SUFFIXES = {"int": "", "unsigned int": "u", "long": "l", "unsigned long": "ul", "long long": "ll", "unsigned long long": "ull"}

STANDARD = {
    "a": ("std::allocator", "allocator"),
    "b": ("std::basic_string", "basic_string"),
    "s": ("std::string", "basic_string"),
    "i": ("std::istream", "basic_istream"),
    "o": ("std::ostream", "basic_ostream"),
    "d": ("std::iostream", "basic_iostream"),
}
"""Abbreviations: as they are shown, and the name of the class's constructors."""

STANDARD_FULL = {
    "s": "std::basic_string<char, std::char_traits<char>, std::allocator<char> >",
    "i": "std::basic_istream<char, std::char_traits<char> >",
    "o": "std::basic_ostream<char, std::char_traits<char> >",
    "d": "std::basic_iostream<char, std::char_traits<char> >",
}
"""How they are shown before a constructor or destructor."""

SPECIAL_TYPES = {"TV": "vtable for ", "TT": "VTT for ", "TI": "typeinfo for ", "TS": "typeinfo name for ", "TF": "typeinfo fn for "}
SPECIAL_NAMES = {
    "GV": "guard variable for ",
    "GR": "reference temporary #",
    "TH": "TLS init function for ",
    "TW": "TLS wrapper function for ",
}
SPECIAL_FUNCTIONS = {"GA": "hidden alias for ", "GTt": "transaction clone for ", "GTn": "non-transaction clone for "}

OPERATORS = {
    "aN": ("&=", 2), "aS": ("=", 2), "aa": ("&&", 2), "ad": ("&", 1), "an": ("&", 2), "at": ("alignof ", 1), "aw": ("co_await ", 1),
    "az": ("alignof ", 1), "cc": ("const_cast", 2), "cl": ("()", 2), "cm": (",", 2), "co": ("~", 1), "dV": ("/=", 2),
    "da": ("delete[] ", 1), "dc": ("dynamic_cast", 2), "de": ("*", 1), "dl": ("delete ", 1), "ds": (".*", 2), "dt": (".", 2),
    "dv": ("/", 2), "eO": ("^=", 2), "eo": ("^", 2), "eq": ("==", 2), "ge": (">=", 2), "gt": (">", 2), "ix": ("[]", 2), "lS": ("<<=", 2),
    "le": ("<=", 2), "ls": ("<<", 2), "lt": ("<", 2), "mI": ("-=", 2), "mL": ("*=", 2), "mi": ("-", 2), "ml": ("*", 2), "mm": ("--", 1),
    "na": ("new[]", 3), "ne": ("!=", 2), "ng": ("-", 1), "nt": ("!", 1), "nw": ("new", 3), "nx": ("noexcept", 1), "oR": ("|=", 2),
    "oo": ("||", 2), "or": ("|", 2), "pL": ("+=", 2), "pl": ("+", 2), "pm": ("->*", 2), "pp": ("++", 1), "ps": ("+", 1), "pt": ("->", 2),
    "qu": ("?", 3), "rM": ("%=", 2), "rS": (">>=", 2), "rc": ("reinterpret_cast", 2), "rm": ("%", 2), "rs": (">>", 2),
    "sc": ("static_cast", 2), "ss": ("<=>", 2), "st": ("sizeof ", 1), "sz": ("sizeof ", 1), "tr": ("throw", 0), "tw": ("throw ", 1),
}  # fmt: skip
"""What is written after `operator`, and the number of operands in an expression."""
