# pg_orm: an object-relational mapper inside PostgreSQL.
#
# PARTS is the one ordered list of what the extension is made of: for each
# part src/PART.c is compiled and src/PART.sql goes into the install script,
# in this order.  A part may have only one of the two.
PARTS = \
	header \
	pg_orm \
	execute_as \
	model/catalog \
	model/metadata \
	model/build \
	model/lookup \
	model/key \
	model/plain_scan \
	model/snapshot \
	model/sql_text \
	model/bind \
	model/relationship \
	model/fragment \
	model/check \
	model/declaration \
	model/association \
	model/declare \
	model/create_all \
	model/drop_all \
	model/map \
	model/automap \
	model/diagram \
	model/events \
	navigation/distributed \
	navigation/body \
	navigation/functions \
	navigation/lookup \
	navigation/scan \
	navigation/memo \
	navigation/to_one \
	engine/catalog \
	engine/slot \
	session/session \
	session/identity_map \
	session/version \
	session/model_objects \
	session/object \
	session/arena \
	session/row \
	session/row_maker \
	session/row_draft \
	session/access \
	session/statement \
	session/key_read \
	session/load \
	session/reference \
	session/unit_of_work \
	session/flush \
	session/flush_order \
	session/flush_self \
	session/flush_batch \
	session/flush_items \
	session/flush_sql \
	session/own_statement \
	session/autoflush \
	session/client_call \
	session/transaction \
	session/association \
	session/members \
	session/collection \
	session/cascade \
	session/graph \
	session/objects \
	query/fragment \
	query/operators \
	query/filter_by \
	query/criteria \
	query/params \
	query/kept \
	query/estimate \
	query/query \
	query/pull \
	query/plan \
	query/synchronize \
	query/bulk \
	query/evaluate \
	query/explain \
	document/scan \
	document/selection \
	document/resolve \
	document/render \
	document/key_table \
	document/level \
	document/level_sql \
	document/rows \
	document/stitch \
	document/reader \
	document/kept_reader \
	document/reading \
	document/lock \
	document/parts \
	document/values \
	document/prefetch \
	document/place \
	document/save_object \
	document/saving \
	document/view \
	document/schema

# The regression tests, one per chapter of the manual, in order; what has not
# been written yet is left out.
REGRESS_TESTS = \
	install \
	walk \
	models \
	map \
	automap \
	catalog \
	navigation \
	to_one \
	sessions \
	keys \
	autoflush \
	savepoints \
	graphs \
	plain_documents \
	stored_as_sent \
	cascades \
	unit_of_work \
	versions \
	transactions \
	queries \
	reading \
	criteria \
	bulk \
	evaluate \
	explain \
	selection \
	documents \
	large_documents \
	orm_views \
	saving \
	engines \
	tutorial \
	privileges \
	search_path \
	errors

# The isolation tests (test/specs).
ISOLATION_TESTS = \
	models \
	sessions \
	lost_updates \
	scoped_sessions \
	bulk \
	engines \
	documents \
	concurrent_ddl

EXTENSION = pg_orm pg_orm_tutorial
EXTVERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" pg_orm.control)
MODULE_big = pg_orm
PGFILEDESC = "pg_orm - object-relational mapper"

OBJS = $(patsubst %.c,%.o,$(wildcard $(PARTS:%=src/%.c)))
SQL_PARTS = $(wildcard $(PARTS:%=src/%.sql))
DATA_built = pg_orm--$(EXTVERSION).sql pg_orm_tutorial--$(EXTVERSION).sql

PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers

REGRESS := $(foreach t,$(REGRESS_TESTS),$(if $(wildcard sql/$t.sql),$t))
REGRESS_OPTS = --encoding=UTF8
ISOLATION := $(foreach t,$(ISOLATION_TESTS),$(if $(wildcard test/specs/$t.spec),$t))
ISOLATION_OPTS = --inputdir=test --encoding=UTF8
TAP_TESTS := $(if $(wildcard test/t/*.pl),1)
PROVE_TESTS = test/t/*.pl
PROVE_FLAGS = -I test/t

# These set up what is missing by themselves, PostgreSQL included, and run on
# a throw-away cluster.  A PG_CONFIG given by hand is used, and otherwise
# Debian's PostgreSQL 15.
TRUST := $(notdir $(shell find test/trust -maxdepth 1 -type f -perm -u+x 2>/dev/null))
TAP := $(sort $(wildcard test/t/*.pl))
STANDALONE = test test-all test-versions test-drivers demo bench check-tree \
	$(TRUST:%=trust-%)
SCRIPT_ENV = $(if $(PG_CONFIG),PG_CONFIG="$(PG_CONFIG)") \
	PARTS="$(PARTS)" REGRESS_TESTS="$(REGRESS_TESTS)" REGRESS="$(REGRESS)" \
	ISOLATION_TESTS="$(ISOLATION_TESTS)" ISOLATION="$(ISOLATION)" \
	TAP="$(TAP)"

PGXS := $(shell $(or $(PG_CONFIG),pg_config) --pgxs 2>/dev/null)
ifneq ($(wildcard $(PGXS)),)
SCRIPT_ENV := $(SCRIPT_ENV)
PG_CONFIG ?= pg_config
include $(PGXS)
else ifneq ($(filter-out $(STANDALONE),$(or $(MAKECMDGOALS),all)),)
$(error no PGXS: set PG_CONFIG to the pg_config of a PostgreSQL with its development files)
endif

# PGXS does not track headers.
$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h src/*/*.h)

pg_orm--$(EXTVERSION).sql: $(SQL_PARTS) pg_orm.control Makefile
	cat $(SQL_PARTS) > $@

pg_orm_tutorial--$(EXTVERSION).sql: src/tutorial/tutorial.sql
	cat $< > $@

.PHONY: $(STANDALONE)

test:
	@$(SCRIPT_ENV) test/run

test-all:
	@$(SCRIPT_ENV) test/all

$(TRUST:%=trust-%): trust-%:
	@$(SCRIPT_ENV) test/trust/$*

test-versions:
	@test/versions

demo:
	@$(SCRIPT_ENV) test/demo

bench:
	@$(SCRIPT_ENV) test/bench/run

test-drivers:
	@$(SCRIPT_ENV) test/drivers/run

check-tree:
	@$(SCRIPT_ENV) test/check-tree
