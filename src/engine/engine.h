/*-------------------------------------------------------------------------
 *
 * engine.h
 *	  What other modules may ask of engines: the maker of a session, and a
 *	  slot of its engine.
 *
 * An engine limits how many sessions of its makers have a transaction open
 * at once, over all backends of the database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_ENGINE_H
#define PG_ORM_ENGINE_H

/* A setting that a maker may leave to the GUC of that name. */
typedef enum MakerSetting
{
	MAKER_UNSET,
	MAKER_OFF,
	MAKER_ON
} MakerSetting;

/* What a session has from its maker; all zero without one. */
typedef struct Sessionmaker
{
	Oid			engine;			/* its id, or InvalidOid */
	MakerSetting autoflush;
	MakerSetting expire_on_commit;
} Sessionmaker;

/* A slot that is held; number 0 is none. */
typedef struct EngineSlot
{
	Oid			config_table;	/* what the slot is a lock of */
	Oid			engine;
	uint16		number;
} EngineSlot;

/* ------------------------------------------------------------------------
 * in catalog.c
 * ------------------------------------------------------------------------
 */

/*
 * The maker of the session with that name, which is the maker's or begins
 * with the maker's and a slash; of several the one with the longest name.
 * May read tables, when they have changed.
 */
extern Sessionmaker sessionmaker_of_session(const char *session_name);

/* init, called by _PG_init */
extern void engine_init(void);

/* ------------------------------------------------------------------------
 * in slot.c
 * ------------------------------------------------------------------------
 */

/*
 * Takes a slot of the engine for the rest of the transaction, whatever
 * savepoints are rolled back; waits for one, and raises 53300 when that took
 * pool_timeout seconds.
 */
extern void engine_slot_take(Oid engine, EngineSlot *slot);

/*
 * Gives a slot back before the end of the transaction.  At the end the server
 * frees it, and it must not be given back any more.  Safe in a callback at
 * the end of a subtransaction.
 */
extern void engine_slot_give_back(EngineSlot *slot);

#endif							/* PG_ORM_ENGINE_H */
