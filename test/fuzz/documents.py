"""Random models, selections and documents, read and written.

Usage: documents.py DSN SEED STEPS

A document that orm.find reads is what walking the plain rows gives, with much
memory and with little; changed documents, one or several in a call, that
orm.save or an ORM view writes leave the rows as plain SQL would have made
them, and read back as what was written; with a mistake in one of them nothing
is written, and its place is named.  Ends with "ok", or with the models and the
step that led to a difference.
"""
import json
import random
import sys

import psycopg2

TYPES = {
    "int": lambda r: r.randint(-5, 5),
    "text": lambda r: r.choice(["", "a", 'q"\\', "é篮\t", "x" * 30]),
    "numeric": lambda r: r.choice([0, 1, -7, 12345678901234567890]),
    "bool": lambda r: r.random() < 0.5,
    "date": lambda r: "2024-02-%02d" % r.randint(1, 29),
    "text[]": lambda r: r.choice([[], ["a", None], ["b c", '"']]),
    "jsonb": lambda r: r.choice([{"k": [1, None]}, [], "s", 3]),
}
KEYS = [["int"], ["text"], ["bigint"], ["int", "text"]]


def as_text(row):
    return json.dumps(row, sort_keys=True)


class Table:
    def __init__(self, name, rng):
        self.name = name
        self.keys = [("k%d" % i, t) for i, t in enumerate(rng.choice(KEYS))]
        self.columns = [("c%d" % i, rng.choice(list(TYPES)))
                        for i in range(rng.randint(1, 4))]
        self.foreign = []               # (columns, target, nullable)
        self.relations = {}             # name -> Relation
        self.next = 1

    def key_names(self):
        return [k for k, _ in self.keys]

    def all_columns(self):
        return (self.key_names() + [c for c, _ in self.columns]
                + [c for cs, _ in self.foreign for c in cs])

    def new_key(self):
        self.next += 1
        return {k: self.next if t != "text" else "t%d" % self.next
                for k, t in self.keys}


class Relation:
    def __init__(self, kind, target, local=None, remote=None, link=None,
                 link_local=None, link_remote=None):
        self.kind = kind                # one, many, link
        self.target = target
        self.local, self.remote = local, remote
        self.link = link
        self.link_local, self.link_remote = link_local, link_remote


class World:
    def __init__(self, cursor, rng):
        self.cursor, self.rng = cursor, rng
        self.log = []
        self.tables = [Table('t%d' % i if i else 'T "0"', rng)
                       for i in range(rng.randint(2, 4))]
        self.links = []
        self.views = 0
        self.create()
        self.fill()

    def sql(self, text, *args):
        self.log.append((text, args))
        self.cursor.execute(text, args)
        if self.cursor.description:
            return self.cursor.fetchall()

    def quote(self, name):
        return '"%s"' % name.replace('"', '""')

    def create(self):
        rng = self.rng
        for t in self.tables:
            for n in range(rng.randint(0, 2)):
                target = rng.choice(self.tables)
                cols = ["f%d_%d" % (n, i) for i in range(len(target.keys))]
                t.foreign.append((cols, target))
        for t in self.tables:
            defs = ["%s %s" % kt for kt in t.keys]
            defs += ["%s %s" % ct for ct in t.columns]
            for cols, target in t.foreign:
                defs += ["%s %s" % (c, k[1])
                         for c, k in zip(cols, target.keys)]
            defs.append("PRIMARY KEY (%s)" % ", ".join(t.key_names()))
            self.sql("CREATE TABLE %s (%s)" % (self.quote(t.name),
                                               ", ".join(defs)))
        for t in self.tables:
            for n, (cols, target) in enumerate(t.foreign):
                self.sql("ALTER TABLE %s ADD FOREIGN KEY (%s) REFERENCES %s"
                         % (self.quote(t.name), ", ".join(cols),
                            self.quote(target.name)))
        for t in self.tables:
            self.sql("SELECT orm.map(%s::regclass, %s)", self.quote(t.name),
                     t.name)
        number = 0
        for t in self.tables:
            for cols, target in t.foreign:
                number += 1
                there, back = "r%d" % number, "b%d" % number
                self.sql("SELECT orm.relate(%s, %s, %s, backref => %s,"
                         " foreign_keys => %s, remote_side => %s)",
                         t.name, there, target.name, back, cols,
                         target.key_names())
                t.relations[there] = Relation("one", target, cols,
                                              target.key_names())
                target.relations[back] = Relation("many", t,
                                                  target.key_names(), cols)
        for n in range(rng.randint(1, 2)):
            a, b = rng.sample(self.tables, 2)
            link = "link%d" % n
            la = ["a%d" % i for i in range(len(a.keys))]
            lb = ["b%d" % i for i in range(len(b.keys))]
            unique = rng.random() < 0.5
            self.sql("CREATE TABLE %s (%s, %s, FOREIGN KEY (%s) REFERENCES"
                     " %s, FOREIGN KEY (%s) REFERENCES %s%s)" % (
                         link,
                         ", ".join("%s %s" % (c, k[1])
                                   for c, k in zip(la, a.keys)),
                         ", ".join("%s %s" % (c, k[1])
                                   for c, k in zip(lb, b.keys)),
                         ", ".join(la), self.quote(a.name), ", ".join(lb),
                         self.quote(b.name),
                         ", PRIMARY KEY (%s)" % ", ".join(la + lb)
                         if unique else ""))
            self.sql("SELECT orm.relate(%s, %s, %s, secondary => %s,"
                     " backref => %s)", a.name, "m%d" % n, b.name, link,
                     "w%d" % n)
            a.relations["m%d" % n] = Relation(
                "link", b, a.key_names(), b.key_names(), link, la, lb)
            b.relations["w%d" % n] = Relation(
                "link", a, b.key_names(), a.key_names(), link, lb, la)
            self.links.append((link, la, lb, a, b, unique))

    def value(self, type_):
        return None if self.rng.random() < 0.2 else TYPES[type_](self.rng)

    def insert(self, table, row):
        names = list(row)
        self.sql("INSERT INTO %s (%s) SELECT %s FROM"
                 " jsonb_populate_record(NULL::%s, %%s)" % (
                     self.quote(table), ", ".join(names), ", ".join(names),
                     self.quote(table)), json.dumps(row))

    def fill(self):
        rng = self.rng
        rows = {}
        for t in self.tables:
            rows[t] = []
            for n in range(rng.randint(0, 8)):
                row = t.new_key()
                row.update((c, self.value(ty)) for c, ty in t.columns)
                self.insert(t.name, row)
                rows[t].append(row)
        for t in self.tables:
            for cols, target in t.foreign:
                for row in rows[t]:
                    if rows[target] and rng.random() < 0.8:
                        other = rng.choice(rows[target])
                        self.sql("UPDATE %s SET (%s) = ROW(%s) WHERE (%s) ="
                                 " (%s)" % (
                                     self.quote(t.name), ", ".join(cols),
                                     ", ".join(["%s"] * len(cols)),
                                     ", ".join(t.key_names()),
                                     ", ".join(["%s"] * len(t.keys))),
                                 *[other[k] for k in target.key_names()],
                                 *[row[k] for k in t.key_names()])
        for link, la, lb, a, b, unique in self.links:
            seen = set()
            for n in range(rng.randint(0, 12)):
                if not rows[a] or not rows[b]:
                    break
                x, y = rng.choice(rows[a]), rng.choice(rows[b])
                row = dict(zip(la, (x[k] for k in a.key_names())))
                row.update(zip(lb, (y[k] for k in b.key_names())))
                if unique and tuple(row.values()) in seen:
                    continue
                seen.add(tuple(row.values()))
                self.insert(link, row)

    # the plain rows, in the order of their keys
    def rows(self):
        result = {}
        for t in self.tables:
            result[t.name] = [r[0] for r in self.sql(
                "SELECT to_jsonb(x) FROM %s x ORDER BY %s" % (
                    self.quote(t.name), ", ".join(t.key_names())))]
        for link, *_ in self.links:
            result[link] = sorted([r[0] for r in self.sql(
                "SELECT to_jsonb(x) FROM %s x" % link)], key=as_text)
        return result

    def related(self, rows, table, row, relation):
        if relation.kind == "link":
            ends = [tuple(l[c] for c in relation.link_remote)
                    for l in rows[relation.link]
                    if [l[c] for c in relation.link_local]
                    == [row[c] for c in relation.local]]
            return [r for r in rows[relation.target.name]
                    if tuple(r[c] for c in relation.remote) in ends]
        wanted = [row[c] for c in relation.local]
        if None in wanted:
            return []
        return [r for r in rows[relation.target.name]
                if [r[c] for c in relation.remote] == wanted]

    # a random selection: its text, and how to make its documents
    def selection(self, table, depth):
        rng = self.rng
        parts, makers = [], []
        star = rng.random() < 0.3
        names = table.all_columns()
        for c in names:
            if not star and rng.random() < 0.5:
                key = c if rng.random() < 0.7 else "x_" + c
                hidden = rng.random() < 0.1
                parts.append((c if key == c else "%s: %s" % (key, c))
                             + (" @hidden" if hidden else ""))
                if not hidden:
                    makers.append((key, lambda rows, r, c=c: r[c]))
        if star:
            parts.append("*")
            makers += [(c, lambda rows, r, c=c: r[c]) for c in names]
        for name, relation in table.relations.items():
            if depth == 0 or rng.random() < 0.5:
                continue
            text, child = self.selection(relation.target, depth - 1)
            limit = offset = None
            order = 1
            if relation.kind != "one" and rng.random() < 0.3:
                limit, offset = rng.randint(0, 3), rng.randint(0, 2)
            if relation.kind != "one" and rng.random() < 0.3:
                order = -1
            arguments = []
            if limit is not None:
                arguments.append("limit: %d, offset: %d" % (limit, offset))
            if order < 0:
                arguments.append('order_by: "%s"' % ", ".join(
                    k + " DESC" for k in relation.target.key_names()))
            parts.append("%s%s %s" % (
                name, "(%s)" % " ".join(arguments) if arguments else "",
                text))

            def make(rows, r, relation=relation, child=child, limit=limit,
                     offset=offset, order=order):
                found = self.related(rows, table, r, relation)[::order]
                if limit is not None:
                    found = found[offset:offset + limit]
                docs = [child(rows, x) for x in found]
                if relation.kind == "one":
                    return docs[0] if docs else None
                return docs
            makers.append((name, make))
        if not makers:
            parts.append("shown: k0")
            makers.append(("shown", lambda rows, r: r["k0"]))
        rng.shuffle(parts)
        return ("{ %s }" % " ".join(parts),
                lambda rows, r: {k: m(rows, r) for k, m in makers})

    def check_read(self):
        table = self.rng.choice(self.tables)
        text, make = self.selection(table, 3)
        rows = self.rows()
        self.sql("SET work_mem = '%s'" % self.rng.choice(["64kB", "4MB"]))
        found = [r[0] for r in self.sql("SELECT * FROM orm.find(%s, %s)",
                                        table.name, text)]
        wanted = [make(rows, r) for r in rows[table.name]]
        self.compare("orm.find", found, wanted)
        found = [r[0] for r in self.sql(
            "SELECT orm.row_document(x, %%s) FROM %s x ORDER BY %s" % (
                self.quote(table.name), ", ".join(table.key_names())), text)]
        self.compare("orm.row_document", found, wanted)

    def compare(self, what, found, wanted):
        if found == wanted:
            return
        print("%s differs" % what)
        print("found ", json.dumps(found, sort_keys=True))
        print("wanted", json.dumps(wanted, sort_keys=True))
        raise SystemExit(1)

    # documents with all columns, and their relationships with all columns
    def check_write(self):
        rng = self.rng
        table = rng.choice(self.tables)
        # an object that is in more than one place could be said to be
        # different things there
        names, targets = [], [table]
        for n in rng.sample(list(table.relations), len(table.relations)):
            if table.relations[n].target not in targets:
                names.append(n)
                targets.append(table.relations[n].target)
        text = "{ * %s }" % " ".join("%s { * }" % n for n in names)
        rows = self.rows()
        many = rng.random() < 0.5
        stored = list(rows[table.name])
        rng.shuffle(stored)
        docs, kept, touched = [], [], set()
        exists = False
        for i in range(rng.randint(0, 5) if many else 1):
            exists = bool(stored) and rng.random() < 0.8
            if exists:
                row = stored.pop()
                doc = self.find(table, text, row)
            else:
                row = dict.fromkeys(table.all_columns())
                row.update(table.new_key())
                rows[table.name].append(row)
                doc = {k: row[k] for k in table.key_names()}
                doc.update((n, None if table.relations[n].kind == "one"
                            else []) for n in names)
            docs.append(doc)
            kept.append((row, exists))
            touched.add(id(row))
        for doc, (row, exists) in zip(docs, kept):
            for c, ty in table.columns:
                if rng.random() < 0.4:
                    row[c] = doc[c] = self.value(ty)
                elif exists and rng.random() < 0.2:
                    doc.pop(c)
            # a foreign key is written by its relationship alone
            for cols, _ in table.foreign:
                for c in cols:
                    doc.pop(c, None)
            for n in names:
                self.change(rows, table, row, doc, n, touched)
        before = json.dumps(docs if many else docs[0])
        if names and docs and rng.random() < 0.2:
            self.check_refused(table, text, names, docs, many)
        if many:
            self.sql("SELECT orm.save(%s, %s, %s)", table.name, before, text)
        else:
            self.write(table, text, docs[0], exists)
        self.compare("rows after writing %s" % before, self.rows(),
                     self.sorted(rows))
        found = [self.find(table, text, row) for row, _ in kept]
        if not many:
            found = found[0]
        again = self.sql("SELECT orm.save(%s, %s, %s)", table.name,
                         json.dumps(found), text)[0][0]
        self.compare("written back as read", again, found)
        self.compare("rows after that", self.rows(), self.sorted(rows))

    def find(self, table, text, row):
        return self.sql("SELECT f FROM orm.find(%s, %s, filter_by => %s) f",
                        table.name, text, json.dumps(
                            {k: row[k] for k in table.key_names()}))[0][0]

    # one thing is wrong in one of the documents: nothing is written, and the
    # error says where it is
    def check_refused(self, table, text, names, docs, many):
        rng = self.rng
        i, n = rng.randrange(len(docs)), rng.choice(names)
        target = table.relations[n].target
        wrong = json.loads(json.dumps(docs))
        place = "$[%d].%s" % (i, n) if many else "$.%s" % n
        if rng.random() < 0.5:
            bad, code = target.new_key(), "P0002"
        else:
            bad, code = dict(target.new_key(), nosuch=1), "42703"
        if table.relations[n].kind == "one":
            wrong[i][n] = bad
        else:
            members = wrong[i].setdefault(n, [])
            members.append(bad)
            place += "[%d]" % (len(members) - 1)
        before = self.rows()
        try:
            self.sql("SELECT orm.save(%s, %s, %s)", table.name,
                     json.dumps(wrong if many else wrong[0]), text)
            self.compare("no error for %s" % json.dumps(wrong), None, place)
        except psycopg2.Error as error:
            line = "document of %s at %s" % (table.name, place)
            if line not in (error.diag.context or "").split("\n"):
                self.compare("place of %s" % json.dumps(wrong),
                             error.diag.context, line)
            self.compare("SQLSTATE", error.pgcode, code)
        self.compare("rows after an error", self.rows(), before)

    def sorted(self, rows):
        for t in self.tables:
            order = self.sql(
                "SELECT to_jsonb(x) FROM (SELECT %s FROM"
                " jsonb_populate_recordset(NULL::%s, %%s)) x ORDER BY %s" % (
                    ", ".join(t.key_names()), self.quote(t.name),
                    ", ".join(t.key_names())), json.dumps(rows[t.name]))
            by_key = {tuple(r[k] for k in t.key_names()): r
                      for r in rows[t.name]}
            rows[t.name] = [by_key[tuple(o[0][k] for k in t.key_names())]
                            for o in order]
        for link, *_ in self.links:
            rows[link].sort(key=as_text)
        return rows

    def change(self, rows, table, row, doc, name, touched):
        rng = self.rng
        relation = table.relations[name]
        target = relation.target
        keys = target.key_names()
        if relation.kind == "one":
            choice = rng.random()
            if choice < 0.3:
                doc[name] = None
                row.update(dict.fromkeys(relation.local))
            elif choice < 0.7 and rows[target.name]:
                other = rng.choice(rows[target.name])
                if other is row:
                    doc.pop(name)
                    return
                doc[name] = {k: other[k] for k in keys}
                row.update(zip(relation.local, (other[k] for k in keys)))
                if id(other) not in touched and rng.random() < 0.4:
                    touched.add(id(other))
                    c, ty = rng.choice(target.columns)
                    other[c] = doc[name][c] = self.value(ty)
            elif choice < 0.85:
                doc[name] = self.new_object(target, rows)
                touched.add(id(rows[target.name][-1]))
                row.update(zip(relation.local, (doc[name][k] for k in keys)))
            else:
                doc.pop(name)
            return
        docs = doc[name]
        members = self.related(rows, table, row, relation)
        for member in list(members):
            if rng.random() < 0.3:
                docs[:] = [d for d in docs
                           if [d[k] for k in keys] != [member[k] for k in keys]]
                if relation.kind == "many":
                    member.update(dict.fromkeys(relation.remote))
                    touched.add(id(member))
                else:
                    self.unlink(rows, relation, row, member)
        if rng.random() < 0.5:
            docs.append(self.new_object(target, rows))
            self.add(relation, rows, row, rows[target.name][-1])
        if rng.random() < 0.5:
            strangers = [r for r in rows[target.name] if r not in members
                         and r is not row and id(r) not in touched
                         and [r[k] for k in keys] not in
                         [[d.get(k) for k in keys] for d in docs]]
            if relation.kind == "many":
                strangers = [r for r in strangers
                             if all(r[c] is None for c in relation.remote)]
            if strangers:
                other = rng.choice(strangers)
                docs.append({k: other[k] for k in keys})
                self.add(relation, rows, row, other)
        # what of the objects is in more than one place cannot differ there
        for d in docs:
            key = [d[k] for k in keys]
            for cols, _ in target.foreign:
                for c in cols:
                    d.pop(c, None)
            here = [r for r in rows[target.name]
                    if [r[k] for k in keys] == key]
            if here and id(here[0]) not in touched and rng.random() < 0.3:
                touched.add(id(here[0]))
                c, ty = rng.choice(target.columns)
                here[0][c] = d[c] = self.value(ty)
            else:
                for c, _ in target.columns:
                    if here and id(here[0]) in touched:
                        d.pop(c, None)
            if here:
                touched.add(id(here[0]))

    # the document of an object that is not there yet: more than a key
    def new_object(self, target, rows):
        new = target.new_key()
        new.update((c, self.value(ty)) for c, ty in target.columns)
        doc = {k: v for k, v in new.items() if k in target.key_names()
               or v is not None or self.rng.random() < 0.5}
        if len(doc) == len(target.keys):
            doc[target.columns[0][0]] = None
            new[target.columns[0][0]] = None
        for cols, _ in target.foreign:
            new.update(dict.fromkeys(cols))
        rows[target.name].append(new)
        return doc

    def add(self, relation, rows, row, member):
        if relation.kind == "many":
            member.update(zip(relation.remote,
                              (row[c] for c in relation.local)))
            return
        link = dict(zip(relation.link_local,
                        (row[c] for c in relation.local)))
        link.update(zip(relation.link_remote,
                        (member[c] for c in relation.remote)))
        rows[relation.link].append(link)

    def unlink(self, rows, relation, row, member):
        rows[relation.link] = [
            l for l in rows[relation.link]
            if [l[c] for c in relation.link_local] != [
                row[c] for c in relation.local]
            or [l[c] for c in relation.link_remote] != [
                member[c] for c in relation.remote]]

    def write(self, table, text, doc, exists):
        if self.rng.random() < 0.5:
            self.sql("SELECT orm.save(%s, %s, %s)", table.name,
                     json.dumps(doc), text)
            return
        self.views += 1
        view = "v%d" % self.views
        self.sql("SELECT orm.create_view(%s, %s, %s)", view, table.name, text)
        if exists:
            self.sql("UPDATE %s SET data = %%s WHERE (%s) = (%s)" % (
                view, ", ".join(table.key_names()),
                ", ".join(["%s"] * len(table.keys))), json.dumps(doc),
                *[doc[k] for k in table.key_names()])
        else:
            self.sql("INSERT INTO %s (data) VALUES (%%s)" % view,
                     json.dumps(doc))
        self.sql("SELECT orm.drop_view(%s)", view)


def main():
    dsn, seed, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    cursor = connection.cursor()
    rng = random.Random(seed)
    cursor.execute("SET client_min_messages = error")
    cursor.execute("DROP SCHEMA IF EXISTS fuzz CASCADE")
    cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_orm")
    cursor.execute("CREATE SCHEMA fuzz; SET search_path = fuzz")
    world = World(cursor, rng)
    for step in range(steps):
        start = len(world.log)
        try:
            if rng.random() < 0.5:
                world.check_read()
            else:
                world.check_write()
        except (SystemExit, psycopg2.Error) as error:
            print("seed %d step %d: %s" % (seed, step, error))
            for text, args in world.log[:start] if step == 0 else []:
                print("  ", text, args)
            for text, args in world.log[start:]:
                print("  ", text, args)
            sys.exit(1)
    print("ok")


main()
