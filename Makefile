# pg_orm: an object-relational mapper inside PostgreSQL.
#
# PARTS is the one ordered list of what the extension is made of: for each
# part src/PART.c is compiled and src/PART.sql goes into the install script,
# in this order.  A part may have only one of the two.
PARTS = \
	header \
	pg_orm \
	model/catalog \
	model/metadata \
	model/key \
	model/declare \
	model/create_all \
	model/map \
	model/automap \
	model/diagram \
	model/events \
	navigation/functions \
	navigation/to_one \
	session/session \
	session/identity_map \
	session/row \
	session/unit_of_work \
	session/flush \
	session/autoflush \
	session/transaction \
	session/objects \
	query/criteria \
	query/query \
	query/bulk \
	query/evaluate \
	query/explain

EXTENSION = pg_orm
EXTVERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" pg_orm.control)
MODULE_big = pg_orm
PGFILEDESC = "pg_orm - object-relational mapper"

OBJS = $(patsubst %.c,%.o,$(wildcard $(PARTS:%=src/%.c)))
SQL_PARTS = $(wildcard $(PARTS:%=src/%.sql))
DATA_built = pg_orm--$(EXTVERSION).sql

PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS = -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# PGXS does not track headers.
$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h src/*/*.h)

pg_orm--$(EXTVERSION).sql: $(SQL_PARTS) pg_orm.control Makefile
	cat $(SQL_PARTS) > $@
