"""Names of functions and variables: with their scopes and parameters, special and local ones."""

from __future__ import annotations

from pyprobe.runtime.machine.demangle.reader import Name, Node, NotMangled, Pack, Reader, TypeText
from pyprobe.runtime.machine.demangle.tables import OPERATORS, SPECIAL_FUNCTIONS, SPECIAL_NAMES, SPECIAL_TYPES, STANDARD

MOST_ARGUMENTS = 64  # of a template, that the type of a conversion operator names before they are known
_WRITTEN_WITH_SPACE = ("new", "delete", "co_await")


class Names(Reader):
    """The parts of a name."""

    # ---- whole names

    def whole(self) -> str:
        text = self.encoding(top=True)
        while self.peek() == "." and (self.peek(2)[1:].islower() or self.peek(2)[1:].isdigit() or self.peek(2)[1:] == "_"):
            start = self.at
            self.at += 1
            while self.peek().islower() or self.peek() == "_":
                self.at += 1
            while self.peek() == "." and self.peek(2)[1:].isdigit():
                self.at += 1
                while self.peek().isdigit():
                    self.at += 1
            if self.at == start + 1:
                while self.peek().isdigit():
                    self.at += 1
            text += f" [clone {self.text[start : self.at]}]"
        if self.at != len(self.text):
            raise NotMangled
        return text

    def encoding(self, *, top: bool = False) -> str:
        """A function with its parameters, or a variable."""
        if self.peek() in ("G", "T"):
            return self.special()
        name = self.name()
        if self.peek() in ("", "E"):
            self.scoped_name = name.text if name.args is None else ""
            return name.text
        if name.args is not None:
            self.arguments = name.args
        returned = self.type() if name.returns else None
        text = self.spend(f"{name.text}({self.parameters()}){name.qualifiers}")
        self.scoped_name = name.text if name.nested and not name.qualifiers and name.args is None else ""
        if returned is None or not top or isinstance(returned, Pack):
            return text
        space = "" if returned.left.endswith(("(", " ")) or (returned.right and returned.left.endswith("*")) else " "
        return self.spend(f"{returned.left}{space}{text}{returned.right}")

    def parameters(self) -> str:
        """Types up to the end."""
        types: list[Node] = []
        while self.peek() and self.peek() not in ("E", ".") and not (self.peek() in ("R", "O") and self.peek(2)[1:] == "E"):
            types.append(self.type())
        if not types:
            raise NotMangled
        return "" if len(types) == 1 and str(types[0]) == "void" else self.listed(types)

    def special(self) -> str:
        code = self.take(2)
        if code in SPECIAL_TYPES:
            return SPECIAL_TYPES[code] + self.shown(self.type())
        if code in ("Th", "Tv"):
            self.offset(code[1])
            return ("non-virtual" if code == "Th" else "virtual") + " thunk to " + self.encoding()
        if code == "Tc":
            self.offset(self.take())
            self.offset(self.take())
            return "covariant return thunk to " + self.encoding()
        if code == "TC":
            derived = self.shown(self.type())
            self.number()
            self.need("_")
            return f"construction vtable for {self.shown(self.type())}-in-{derived}"
        if code == "GT":
            code += self.take()
        if code in SPECIAL_FUNCTIONS:
            return SPECIAL_FUNCTIONS[code] + self.encoding()
        if code not in SPECIAL_NAMES:
            raise NotMangled
        name = self.name().text
        if code == "GR":
            return f"{SPECIAL_NAMES[code]}{self.ordinal()} for {name}"
        return SPECIAL_NAMES[code] + name

    def offset(self, kind: str) -> None:
        for _ in range({"h": 1, "v": 2}.get(kind, 0)):
            self.found("n")
            self.number()
            self.need("_")

    # ---- names

    def name(self) -> Name:
        self.deeper()
        try:
            if self.found("N"):
                return self.nested()
            if self.found("Z"):
                return self.local()
            if self.peek() == "S" and self.peek(2) != "St":
                named = Name(self.shown(self.substitution()))
            else:
                prefix = "std::" if self.found("St") else ""
                named = self.unqualified("", prefix)
                if self.peek() == "I":
                    self.remember(TypeText(named.text))
            return self.applied(named) if self.peek() == "I" else named
        finally:
            self.depth -= 1

    def applied(self, named: Name) -> Name:
        """A name with template arguments, which follow."""
        text, arguments = self.template_arguments(named.text)
        return named._replace(text=text, args=arguments, returns=named.last != "~")

    def nested(self) -> Name:
        qualifiers = self.qualifiers()
        if self.found("R"):
            qualifiers += " &"
        elif self.found("O"):
            qualifiers += " &&"
        named = Name("", "")
        while not self.found("E"):
            first = self.peek()
            separator = "::" if named.text else ""
            if first == "S" and self.peek(2) != "St":
                code = self.peek(2)[1:]
                text = self.shown(self.substitution(constructs=True))
                named = Name(text, STANDARD[code][1] if code in STANDARD else _class_name(text))
            elif first == "I":
                if not named.text:
                    raise NotMangled
                named = self.applied(named)
            elif first == "T":
                named = Name(self.shown(self.template_parameter()))
            elif first == "D" and self.peek(2) in ("Dt", "DT"):
                named = Name(self.shown(self.type()))
            elif first == "M":
                self.take()
                continue
            else:
                prefix = "std::" if not named.text and self.found("St") else named.text + separator
                named = self.unqualified(named.last, prefix)
            self.spend(named.text)
            if self.peek() != "E" and not (first == "S" and self.referred):  # the whole is not referred to, a reference not again
                self.remember(TypeText(named.text))
        if not named.text:
            raise NotMangled
        return named._replace(qualifiers=qualifiers, nested=True)

    def unqualified(self, of: str, prefix: str) -> Name:
        """A name without its scope, which is `prefix`; of: the class that a constructor would be of."""
        self.referred = False
        first = self.peek()
        if first == "C" or (first == "D" and self.peek(2)[1:] in "012345"):
            return self.constructor(of, prefix)
        if self.found("L"):
            first = self.peek()
        if first.isdigit():
            text = last = self.source_name()
            returns = ""
        elif self.peek(2) in ("Ul", "Ut"):
            text, last, returns = self.closure(), of, ""
        elif self.found("DC"):
            names = [self.source_name()]
            while not self.found("E"):
                names.append(self.source_name())
            text, last, returns = f"[{', '.join(names)}]", "", ""
        else:
            text, last, returns = self.operator()
        while self.found("B"):
            text += f"[abi:{self.source_name()}]"
        return Name(self.spend(prefix + text), "~" if returns else last)

    def constructor(self, of: str, prefix: str) -> Name:
        if not of or of == "~":
            raise NotMangled
        destructs = self.take() == "D"
        if not destructs and self.found("I"):
            self.take()
            self.type()
        else:
            self.take()
        text = f"{prefix}{'~' if destructs else ''}{of}"
        while self.found("B"):
            text += f"[abi:{self.source_name()}]"
        return Name(text, "~")

    def source_name(self) -> str:
        length = self.number()
        text = self.take(length)
        if len(text) != length or not length:
            raise NotMangled
        if text.startswith("_GLOBAL_") and text[8:9] in tuple("._$") and text[9:10] == "N":
            return "(anonymous namespace)"
        return text

    def operator(self) -> tuple[str, str, str]:
        """Text, name for constructors, and whether it is a conversion, which has no return type."""
        code = self.take(2)
        if code == "cv":
            return f"operator {self.shown(self.conversion())}", "", "~"
        if code == "li":
            return f'operator"" {self.source_name()}', "", ""
        if code[:1] == "v" and code[1:].isdigit():
            return f"operator {self.source_name()}", "", ""
        if code not in OPERATORS:
            raise NotMangled
        text = OPERATORS[code][0].rstrip()
        return f"operator {text}" if text.startswith(_WRITTEN_WITH_SPACE) else f"operator{text}", "", ""

    def conversion(self) -> Node:
        """The type of a conversion operator; it may name arguments that come only after it."""
        start, before, scope = self.at, len(self.seen), self.arguments
        self.arguments = [TypeText("auto")] * MOST_ARGUMENTS
        self.converting = True
        made = self.type()
        self.converting = False
        end = self.at
        if self.peek() == "I":
            self.arguments = scope
            self.arguments = self.template_arguments("")[1]
            del self.seen[before:]  # what the arguments bring is met again with the arguments themselves
            self.at, self.converting = start, True
            made = self.type()
            self.converting = False
        self.at, self.arguments = end, scope
        return made

    def closure(self) -> str:
        if self.take(2) == "Ut":
            return f"{{unnamed type#{self.ordinal() + 1}}}"
        self.lambdas += 1
        scope, self.arguments = self.arguments, None
        parameters = self.parameters()
        self.arguments = scope
        self.lambdas -= 1
        self.need("E")
        return f"{{lambda({parameters})#{self.ordinal() + 1}}}"

    def local(self) -> Name:
        function = self.encoding()
        self.need("E")
        if self.found("s"):
            self.discriminator()
            return Name(f"{function}::string literal")
        if self.found("d"):
            function += f"::{{default arg#{self.ordinal() + 1}}}"
        named = self.name()
        self.discriminator()
        return named._replace(text=self.spend(f"{function}::{named.text}"), nested=True)

    def discriminator(self) -> None:
        if self.found("__"):
            self.number()
            self.need("_")
        elif self.found("_"):
            self.take()


def _class_name(text: str) -> str:
    """The last name of a class's, without its template arguments."""
    depth, end = 0, len(text)
    for at in range(len(text) - 1, -1, -1):
        depth += (text[at] == ">") - (text[at] == "<")
        if text[at] == "<" and not depth:
            end = at
        if not depth and text.startswith("::", at):
            return text[at + 2 : end]
    return text[:end]
