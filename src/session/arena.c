/*-------------------------------------------------------------------------
 *
 * arena.c
 *	  Memory of a session's objects and their rows: pieces of just the size
 *	  that is asked for, without a header each.
 *
 * A piece that is given back is kept for the next one of its size, so who
 * gives it back says what its size was.  Blocks belong to the session's
 * objects_context and go with it; the arena lives in the first of them.
 * Nothing is allocated when a piece is given back, since that happens in the
 * callbacks of subtransactions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "session/internal.h"

/* Sizes are multiples of this; larger pieces are chunks of the context. */
#define ARENA_UNIT 16
#define ARENA_LARGEST 1024

#define ARENA_FIRST_BLOCK ARENA_LARGEST
#define ARENA_LAST_BLOCK (4 * 1024 * 1024)

typedef struct FreePiece
{
	struct FreePiece *next;
} FreePiece;

struct Arena
{
	char	   *next;			/* what is left of the newest block */
	char	   *end;
	Size		block_size;		/* of the next block */
	FreePiece  *free[ARENA_LARGEST / ARENA_UNIT + 1];
};

static inline Size
piece_size(Size size)
{
	return TYPEALIGN(ARENA_UNIT, size);
}

static Arena *
arena_create(MemoryContext context)
{
	Arena	   *arena = MemoryContextAllocZero(context, sizeof(Arena));

	arena->block_size = ARENA_FIRST_BLOCK;
	return arena;
}

/* What is left of the block before is too small to be worth a thought. */
static void *
arena_new_block(Arena *arena, MemoryContext context, Size size)
{
	arena->next = MemoryContextAlloc(context, arena->block_size);
	arena->end = arena->next + arena->block_size;
	arena->block_size = Min(arena->block_size * 2, ARENA_LAST_BLOCK);
	arena->next += size;
	return arena->next - size;
}

void *
arena_alloc(Session *session, Size size)
{
	Arena	   *arena = session->arena;
	FreePiece  *piece;

	size = piece_size(size);
	if (size > ARENA_LARGEST)
		return MemoryContextAlloc(session->objects_context, size);
	if (arena == NULL)
		session->arena = arena = arena_create(session->objects_context);
	piece = arena->free[size / ARENA_UNIT];
	if (piece != NULL)
	{
		arena->free[size / ARENA_UNIT] = piece->next;
		return piece;
	}
	if (arena->end - arena->next < size)
		return arena_new_block(arena, session->objects_context, size);
	arena->next += size;
	return arena->next - size;
}

void
arena_free(Session *session, void *pointer, Size size)
{
	FreePiece  *piece = pointer;
	Arena	   *arena = session->arena;

	size = piece_size(size);
	if (size > ARENA_LARGEST)
	{
		pfree(pointer);
		return;
	}
#ifdef CLOBBER_FREED_MEMORY
	memset(pointer, 0x7F, size);
#endif
	piece->next = arena->free[size / ARENA_UNIT];
	arena->free[size / ARENA_UNIT] = piece;
}
