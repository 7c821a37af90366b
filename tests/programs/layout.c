/* Structs whose layout the compiler tells twice: in the type information, and in what the program prints. */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum colour { RED, BLUE = 7, MINUS = -5 };
struct outer;
union either { int number; struct { short head, tail; }; };
struct outer {
	char text[12];
	bool flag;
	short tiny;
	struct { int inner; union { long wide; unsigned char narrow; }; };
	unsigned low : 3, high : 13;
	struct outer *next;
	long (*call)(int);
	unsigned char grid[2][3];
	enum colour colour;
	union either named;
};

long add(int left, long right) { return left + right; }

#define FIELD(tag, type, name) printf("%s %s %zu %zu\n", #tag, #name, offsetof(type, name), sizeof ((type *)0)->name)
int main(void)
{
	struct outer outer = { .call = 0, .colour = RED };
	union either either = { .number = (int)add(1, 2) };
	printf("struct_outer - 0 %zu\nunion_either - 0 %zu\n", sizeof outer, sizeof either);
	FIELD(struct_outer, struct outer, text);
	FIELD(struct_outer, struct outer, flag);
	FIELD(struct_outer, struct outer, tiny);
	FIELD(struct_outer, struct outer, inner);
	FIELD(struct_outer, struct outer, wide);
	FIELD(struct_outer, struct outer, narrow);
	FIELD(struct_outer, struct outer, next);
	FIELD(struct_outer, struct outer, call);
	FIELD(struct_outer, struct outer, grid);
	FIELD(struct_outer, struct outer, colour);
	FIELD(struct_outer, struct outer, named);
	FIELD(union_either, union either, number);
	FIELD(union_either, union either, tail);
	return 0;
}
