/*-------------------------------------------------------------------------
 *
 * slot.c
 *	  The slots of an engine: taking one, waiting for one, giving it back.
 *
 * A slot is a heavyweight lock on an object that is named by the config table
 * of engines, the engine's id and the slot's number.  Nothing that a client
 * can call frees such a lock (DISCARD ALL and pg_advisory_unlock_all() free
 * advisory locks only), and the server does when the backend dies.  The lock
 * belongs to the whole transaction, not to the subtransaction that runs, since
 * what a savepoint rolls back is not the session's use of its connection; a
 * prepared transaction keeps it until it is committed or rolled back.
 *
 * The lock manager has no way to wait for any of several locks, so waiting is
 * polling: there is no order among those who wait, and the deadlock detector
 * knows nothing of it; pool_timeout ends what it would end.  Who waits shares
 * the lock of number 0, so that the waiting can be counted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/inval.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "engine/internal.h"

/* How long to sleep between looks, in milliseconds: doubled up to the last. */
#define FIRST_SLEEP 1
#define LAST_SLEEP 64

/* ------------------------------------------------------------------------
 * locks
 * ------------------------------------------------------------------------
 */
static LOCKTAG
slot_tag(const EngineSlot *slot)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, slot->config_table, slot->engine,
					   slot->number);
	return tag;
}

static LockAcquireResult
slot_lock(const EngineSlot *slot)
{
	ResourceOwner save = CurrentResourceOwner;
	LOCKTAG		tag = slot_tag(slot);
	LockAcquireResult result;

	/* on error the owner is set anew with the (sub)transaction's state */
	CurrentResourceOwner = TopTransactionResourceOwner;
	result = LockAcquire(&tag, ExclusiveLock, false, true);
	CurrentResourceOwner = save;
	return result;
}

static void
slot_unlock(const EngineSlot *slot)
{
	ResourceOwner save = CurrentResourceOwner;
	LOCKTAG		tag = slot_tag(slot);

	CurrentResourceOwner = TopTransactionResourceOwner;
	LockRelease(&tag, ExclusiveLock, false);
	CurrentResourceOwner = save;
}

/* ------------------------------------------------------------------------
 * taking
 * ------------------------------------------------------------------------
 */
static bool
engine_is_unlimited(const Engine *engine)
{
	return engine->pool_size == 0 || engine->max_overflow < 0;
}

/* Slots of an engine without a limit are taken to be counted. */
static int
engine_nslots(const Engine *engine)
{
	return engine_is_unlimited(engine) ? ENGINE_MAX_SLOTS :
		engine->pool_size + engine->max_overflow;
}

/*
 * Takes a free slot if there is one, and returns how many of those that are
 * taken are this transaction's own.  Backends begin to look at different
 * numbers, or the later ones would try all that are taken.
 */
static int
slot_try(int nslots, EngineSlot *slot)
{
	EngineSlot	candidate = *slot;
	int			own = 0;

	for (int i = 0; i < nslots; i++)
	{
		candidate.number = 1 + (MyProcPid + i) % nslots;
		switch (slot_lock(&candidate))
		{
			case LOCKACQUIRE_NOT_AVAIL:
				break;
			case LOCKACQUIRE_OK:
				*slot = candidate;
				return own;
			default:
				slot_unlock(&candidate);
				own++;
				break;
		}
	}
	return own;
}

static void
report_no_slot(const Engine *engine, bool own)
{
	ereport(ERROR,
			(errcode(ERRCODE_TOO_MANY_CONNECTIONS),
			 errmsg("QueuePool limit of size %d overflow %d reached, connection timed out, timeout %.2f",
					engine->pool_size, engine->max_overflow,
					engine->pool_timeout),
			 own ?
			 errdetail("All slots of engine \"%s\" are held by other sessions of this connection, so that waiting is of no use.",
					   engine->name) :
			 errdetail("All slots of engine \"%s\" are held by other sessions.",
					   engine->name),
			 own ? 0 :
			 errhint("SELECT * FROM orm.engine_status() shows how many are in use and waiting.")));
}

/* Sleeps at most that long; cancelled like any statement. */
static void
slot_sleep(double milliseconds)
{
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Max((long) milliseconds, 1), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static void
check_lock_timeout(double waited)
{
	if (LockTimeout > 0 && waited >= LockTimeout)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("canceling statement due to lock timeout")));
}

/* How long to sleep before the next look, all in milliseconds. */
static double
next_sleep(const Engine *engine, double waited, double sleep)
{
	sleep = Min(sleep, engine->pool_timeout * 1000 - waited);
	if (LockTimeout > 0)
		sleep = Min(sleep, LockTimeout - waited);
	return sleep;
}

/*
 * Looks again and again.  The engine's settings are read anew each time: they
 * may be changed just because of those who wait.
 */
static void
slot_wait(EngineSlot *slot)
{
	TimestampTz start = GetCurrentTimestamp();
	double		sleep = FIRST_SLEEP;

	for (;;)
	{
		Engine	   *engine;
		double		waited;
		int			nslots;

		AcceptInvalidationMessages();
		engine = engine_by_id(slot->engine);
		if (engine == NULL)
			return;				/* it was dropped */
		nslots = engine_nslots(engine);
		if (slot_try(nslots, slot) == nslots)
			report_no_slot(engine, true);
		if (slot->number != 0 || engine_is_unlimited(engine))
			return;

		waited = (GetCurrentTimestamp() - start) / 1000.0;
		if (waited >= engine->pool_timeout * 1000)
			report_no_slot(engine, false);
		check_lock_timeout(waited);
		slot_sleep(next_sleep(engine, waited, sleep));
		sleep = Min(sleep * 2, LAST_SLEEP);
	}
}

void
engine_slot_take(Oid engine_id, EngineSlot *slot)
{
	Engine	   *engine = engine_by_id(engine_id);
	LOCKTAG		waiting;

	/* a standby has no locks of that strength */
	if (engine == NULL || RecoveryInProgress())
		return;
	slot->config_table = engine_config_table();
	slot->engine = engine_id;
	slot->number = 0;
	(void) slot_try(engine_nslots(engine), slot);
	if (slot->number != 0)
		return;

	/* an error frees this lock with the (sub)transaction */
	waiting = slot_tag(slot);
	(void) LockAcquire(&waiting, AccessShareLock, false, false);
	slot_wait(slot);
	LockRelease(&waiting, AccessShareLock, false);
}

void
engine_slot_give_back(EngineSlot *slot)
{
	if (slot->number == 0)
		return;
	slot_unlock(slot);
	slot->number = 0;
}
