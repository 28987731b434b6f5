/*-------------------------------------------------------------------------
 *
 * arena.c
 *	  Memory of a session's objects and their rows: pieces of just the size
 *	  that is asked for, without a header each.
 *
 * A piece that is given back is kept for the next one of its size, so who
 * gives it back says what its size was.  All pieces go at the end of the
 * transaction, with what the session's objects_context has.  The first few
 * megabytes of blocks belong to the session and stay, since memory that is
 * fresh from the kernel costs more than what is put into it.
 *
 * Nothing is allocated when pieces are given back, since that happens in the
 * callbacks of subtransactions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memdebug.h"

#include "compat.h"
#include "session/internal.h"

/* Sizes are multiples of this; larger pieces are chunks of the context. */
#define ARENA_UNIT 16
#define ARENA_LARGEST 1024

/* Payload of the blocks; each is twice as large as the one before. */
#define ARENA_FIRST_BLOCK ARENA_LARGEST
#define ARENA_LAST_BLOCK (4 * 1024 * 1024)

/* Blocks that stay have this much together. */
#define ARENA_KEPT ARENA_LAST_BLOCK

typedef struct FreePiece
{
	struct FreePiece *next;
} FreePiece;

typedef struct ArenaBlock
{
	struct ArenaBlock *next;
	Size		size;			/* of the payload, which follows */
} ArenaBlock;

struct Arena
{
	ArenaBlock *first;
	ArenaBlock *current;		/* the last one in use, or NULL */
	char	   *next;			/* what is left of it */
	char	   *end;
	FreePiece  *free[ARENA_LARGEST / ARENA_UNIT + 1];
};

static inline Size
piece_size(Size size)
{
	return TYPEALIGN(ARENA_UNIT, size);
}

static ArenaBlock *
block_create(Session *session, const ArenaBlock *before)
{
	Size		size = before == NULL ? ARENA_FIRST_BLOCK :
		Min(before->size * 2, ARENA_LAST_BLOCK);
	ArenaBlock *block = MemoryContextAlloc(session->context,
										   sizeof(ArenaBlock) + size);

	block->next = NULL;
	block->size = size;
	VALGRIND_MAKE_MEM_NOACCESS(block + 1, size);
	return block;
}

/* What is left of the block before is too small to be worth a thought. */
static void
arena_next_block(Session *session)
{
	Arena	   *arena = session->arena;
	ArenaBlock **link = arena->current == NULL ? &arena->first :
		&arena->current->next;

	if (*link == NULL)
		*link = block_create(session, arena->current);
	arena->current = *link;
	arena->next = (char *) arena->current + sizeof(ArenaBlock);
	arena->end = arena->next + arena->current->size;
}

static void
blocks_free(ArenaBlock *block)
{
	while (block != NULL)
	{
		ArenaBlock *next = block->next;

		pfree(block);
		block = next;
	}
}

/* Makes use of memory that is free show, as pfree() does. */
static void
clobber(void *pointer, Size size)
{
#ifdef CLOBBER_FREED_MEMORY
	wipe_mem(pointer, size);
#endif
	VALGRIND_MAKE_MEM_NOACCESS(pointer, size);
}

/* Nothing that was allocated is used any more. */
void
arena_reset(Session *session)
{
	Arena	   *arena = session->arena;
	Size		kept = 0;

	if (arena == NULL || arena->current == NULL)
		return;
	for (ArenaBlock *block = arena->first; block != NULL; block = block->next)
	{
		clobber(block + 1, block->size);
		kept += block->size;
		if (block->next != NULL && kept + block->next->size > ARENA_KEPT)
		{
			blocks_free(block->next);
			block->next = NULL;
		}
	}
	arena->current = NULL;
	arena->next = arena->end = NULL;
	memset(arena->free, 0, sizeof(arena->free));
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
		session->arena = arena = MemoryContextAllocZero(session->context,
														sizeof(Arena));
	piece = arena->free[size / ARENA_UNIT];
	if (piece != NULL)
	{
		VALGRIND_MAKE_MEM_DEFINED(piece, sizeof(FreePiece));
		arena->free[size / ARENA_UNIT] = piece->next;
		VALGRIND_MAKE_MEM_UNDEFINED(piece, size);
		return piece;
	}
	if (arena->end - arena->next < size)
		arena_next_block(session);
	arena->next += size;
	VALGRIND_MAKE_MEM_UNDEFINED(arena->next - size, size);
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
	clobber(pointer, size);
	VALGRIND_MAKE_MEM_UNDEFINED(piece, sizeof(FreePiece));
	piece->next = arena->free[size / ARENA_UNIT];
	VALGRIND_MAKE_MEM_NOACCESS(piece, sizeof(FreePiece));
	arena->free[size / ARENA_UNIT] = piece;
}
