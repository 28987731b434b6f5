"""What rows and objects must be after each session call: the reference model
of unit_of_work.py, in plain dictionaries that are copied at each savepoint.
"""


class Refused(Exception):
    """An expected error, with the SQLSTATEs of which it has one."""

    def __init__(self, *states):
        super().__init__(*states)
        self.states = set(states)


class Uncertain(Exception):
    """The model does not know what happens."""


class Relation:
    def __init__(self, owner, name, kind, target, local=None, remote=None, cascade=False, orphan=False,
                 passive=False, single=False):
        self.owner, self.name, self.kind, self.target = owner, name, kind, target
        self.local, self.remote = local, remote  # the column of the foreign key, on its side
        self.cascade, self.orphan, self.passive, self.single = cascade, orphan, passive, single


class Class:
    def __init__(self, name, table, key, plain, foreign=None, not_null=(), defaults=None, extra=()):
        self.name, self.table, self.key, self.plain = name, table, key, plain
        self.foreign = foreign or {}
        self.columns = [key] + list(self.foreign) + plain + list(extra)
        self.not_null, self.defaults = not_null, defaults or {}
        self.relations = {}

    def updatable(self):
        return [c for c in self.columns if c not in (self.key, "twice", "version")]


CLASSES = {c.name: c for c in [
    Class("Team", "team", "id", ["name", "n"], {"captain_id": "Member"}, not_null=["name"], defaults={"n": 7}, extra=["twice"]),
    Class("Member", "member", "id", ["label"], {"team_id": "Team"}),
    Class("Card", "card", "id", ["label"], {"team_id": "Team"}, not_null=["team_id", "version"],
          defaults={"version": 1}, extra=["version"]),
    Class("Log", "log", "id", ["label"], {"team_id": "Team"}),
    Class("Badge", "badge", "id", ["label"], {"team_id": "Team"}),
    Class("Tag", "tag", "id", ["name"]),
    Class("Node", "node", "id", ["label"], {"parent_id": "Node"}),
    Class("Item", "item", "code", ["val"], not_null=["version"], defaults={"version": 1}, extra=["version"]),
]}
for relation in [
        Relation("Team", "cards", "many", "Card", remote="team_id", cascade=True, orphan=True),
        Relation("Team", "logs", "many", "Log", remote="team_id", cascade=True, passive=True),
        Relation("Team", "members", "many", "Member", remote="team_id"),
        Relation("Team", "badge", "many", "Badge", remote="team_id", single=True),
        Relation("Team", "tags", "m2m", "Tag"),
        Relation("Team", "captain", "one", "Member", local="captain_id"),
        Relation("Member", "leads", "many", "Team", remote="captain_id"),
        Relation("Tag", "teams", "m2m", "Team"),
        Relation("Member", "team", "one", "Team", local="team_id"),
        Relation("Card", "team", "one", "Team", local="team_id"),
        Relation("Node", "children", "many", "Node", remote="parent_id"),
        Relation("Node", "parent", "one", "Node", local="parent_id")]:
    CLASSES[relation.owner].relations[relation.name] = relation

INSERT_ORDER = ["Team", "Tag", "Node", "Item", "Member", "Card", "Log", "Badge"]


class Object:
    def __init__(self, cls, key, state):
        self.cls, self.key, self.state = cls, key, state  # pending, stored, deleted
        self.stored = None  # the row if it is loaded
        self.changed = None  # with pending changes; only what is known
        self.modified = set()
        self.marked = False
        self.orphan = False

    def copy(self):
        twin = Object(self.cls, self.key, self.state)
        twin.stored = self.stored and dict(self.stored)
        twin.changed = self.changed and dict(self.changed)
        twin.modified = set(self.modified)
        twin.marked, twin.orphan = self.marked, self.orphan
        return twin

    def current(self):
        if self.state == "pending":
            return self.changed
        if self.state == "deleted" or self.stored is None:
            return None
        return self.changed or self.stored

    def unflushed(self):
        return self.state == "pending" or (self.state == "stored" and (self.marked or self.changed is not None))

    def is_orphan(self):
        return (self.orphan and self.state == "stored" and self.changed is not None
                and self.changed.get("team_id") is None)

    def keep(self, row, modified):
        self.changed, self.modified = (dict(row), set(modified)) if modified else (None, set())
        if not modified:
            self.orphan = False

    def text(self):
        if self.state == "pending":
            return "new"
        if self.marked:
            return "deleted"
        if self.changed is not None:
            return "dirty"
        return "persistent" if self.stored is not None else "expired"


def jsonb_order(names):
    return sorted(names, key=lambda name: (len(name), name))


class State:
    def __init__(self):
        self.rows = {name: {} for name in CLASSES}
        self.links = set()
        self.objects = {}  # (class, key): list of objects, of which the last is found
        self.pending_links = {}  # (team, tag): True to be there, False to go
        self.sequence = 1001
        self.possible = set()  # errors that are not certain
        self.autoflush = True
        self.limited = False  # clean objects are forgotten at any load
        self.keep = False  # objects outlive a transaction
        self.loads = 0

    # -- copies -----------------------------------------------------------
    def copy(self):
        twin = State()
        twin.restore(self)
        return twin

    def restore(self, other):
        self.rows = {name: {k: dict(row) for k, row in rows.items()} for name, rows in other.rows.items()}
        self.links = set(other.links)
        self.objects = {i: [o.copy() for o in found] for i, found in other.objects.items()}
        self.pending_links = dict(other.pending_links)
        self.sequence, self.autoflush, self.limited = other.sequence, other.autoflush, other.limited
        self.keep = other.keep
        self.possible = set()

    def end_transaction(self, committed):
        objects, self.objects, self.pending_links = self.all_objects(), {}, {}
        if committed and self.keep:
            for o in objects:
                if o.state == "stored":
                    self.put(o)

    def truncate(self):
        self.rows = {name: {} for name in CLASSES}
        self.links = set()

    # -- objects ----------------------------------------------------------
    def all_objects(self):
        return [o for found in self.objects.values() for o in found]

    def identities(self):
        return list(self.objects)

    def find(self, cls, key):
        found = self.objects.get((cls, key))
        return found[-1] if found else None

    def put(self, o):
        self.objects.setdefault((o.cls, o.key), []).append(o)

    def drop(self, o):
        found = self.objects[o.cls, o.key]
        found.remove(o)
        if not found:
            del self.objects[o.cls, o.key]

    def rekey(self, o, key):
        if key != o.key:
            self.drop(o)
            o.key = key
            self.put(o)

    def take_row(self, cls, row, populate=False):
        """A row was read; what the session shows for it."""
        o = self.find(cls, row[CLASSES[cls].key])
        self.loads += 1
        if o is None:
            o = Object(cls, row[CLASSES[cls].key], "stored")
            o.stored = dict(row)
            self.put(o)
            return dict(row)
        if o.state == "pending" or (o.state == "stored" and o.stored is not None and not populate):
            return dict(o.current())
        if o.state == "deleted":
            o.state, o.marked = "stored", False
        if populate:
            o.keep(row, ())
        self.reload(o, row)
        return dict(o.current())

    def reload(self, o, row):
        o.stored = dict(row)
        if o.changed is not None:
            o.changed = {**row, **{c: o.changed[c] for c in o.modified}}

    def load(self, cls, key, populate=False):
        row = self.rows[cls].get(key)
        if row is None:
            return False
        self.take_row(cls, row, populate)
        return True

    def object(self, cls, key):
        """With its row known."""
        o = self.find(cls, key)
        if o is not None and (o.state in ("pending", "deleted") or o.current() is not None):
            return o
        if not self.load(cls, key):
            raise Refused("P0002")
        return self.find(cls, key)

    def existing(self, cls, key):
        o = self.find(cls, key)
        if o is not None and (o.state == "pending" or o.marked):
            return o
        if o is not None and o.state == "deleted":
            return None
        if o is not None and o.current() is not None:
            return o
        return self.find(cls, key) if self.load(cls, key) else None

    def require_alive(self, o):
        if o is not None and (o.state == "deleted" or o.marked):
            raise Refused("55000")

    def expire_class(self, cls):
        for o in self.all_objects():
            if o.cls == cls:
                o.stored = None

    # -- add, set, merge --------------------------------------------------
    def change(self, o, columns):
        self.require_alive(o)
        current = o.current()
        columns = {c: v for c, v in columns.items() if current[c] != v}
        if not columns:
            return
        row = {**current, **columns}
        if o.state == "pending":
            before, key = o.key, row[CLASSES[o.cls].key]
            other = self.find(o.cls, key) if key != before else None
            if other is not None and other.state != "deleted" and not other.marked:
                raise Refused("23505")
            o.keep(row, o.modified | set(columns))
            self.rekey(o, key)
            if key != before:
                self.follow(o, before)
            return
        o.keep(row, [c for c in row if row[c] != o.stored[c]])
        if o.orphan and row["team_id"] is not None:
            o.orphan = False

    def follow(self, o, before):
        """Members and links of one that is not stored go with its key."""
        members = [(rel, self.members(rel, before, False)) for rel in CLASSES[o.cls].relations.values()
                   if rel.kind != "one"]
        self.forget_links(o.cls, before)
        for rel, keys in members:
            for key in keys:
                if rel.kind == "m2m":
                    self.link(rel, o.key, key)
                else:
                    member = self.find(rel.target, key)
                    self.undelete(member)
                    self.set_foreign_key(member, rel.remote, o.key)

    def with_defaults(self, cls, row, given):
        info = CLASSES[cls]
        for column, value in info.defaults.items():
            if column not in given:
                row[column] = value
        if cls == "Member" and "id" not in given:
            row["id"] = self.sequence
            self.sequence += 1
        return row

    def insert(self, cls, row):
        key = row[CLASSES[cls].key]
        o = self.find(cls, key)
        if o is not None and o.marked and o.stored is None and not self.load(cls, key):
            self.object_deleted(o)
        if o is None:
            o = Object(cls, key, "pending")
            self.put(o)
        elif o.state == "stored" and o.marked:
            # a row switch
            o.marked = o.orphan = False
            modified = [c for c in CLASSES[cls].updatable() if row[c] != o.stored[c]]
            o.keep({**o.stored, **{c: row[c] for c in modified}}, modified)
            return o
        elif o.state == "deleted":
            o.state = "pending"
        elif self.limited and self.loads:
            raise Uncertain
        else:
            raise Refused("23505")
        o.keep(row, row)
        return o

    def split(self, cls, doc):
        relations = CLASSES[cls].relations
        columns = {c: v for c, v in doc.items() if c not in relations}
        return columns, [relations[name] for name in jsonb_order(doc) if name in relations]

    def add(self, cls, doc, known=None):
        columns, relations = self.split(cls, doc)
        for rel in relations:
            if rel.kind == "one":
                columns[rel.local] = self.resolve_one(rel, doc[rel.name])
        columns.update(known or {})
        row = {c: columns.get(c) for c in CLASSES[cls].columns}
        self.with_defaults(cls, row, columns)
        o = self.insert(cls, row)
        result = dict(o.current())
        if o.state == "stored":  # a row switch
            for rel in CLASSES[cls].relations.values():
                if rel.kind == "m2m":
                    for member in self.members(rel, o.key, True):
                        self.unlink(rel, o.key, member)
        for rel in relations:
            if rel.kind == "one":
                continue
            for member in self.resolve_members(rel, o.key, doc[rel.name]):
                if rel.kind == "m2m":
                    self.link(rel, o.key, member)
        return result

    def add_row(self, cls, row):
        o = self.find(cls, row[CLASSES[cls].key])
        if o is not None and o.state != "deleted" and not o.marked:
            return dict(self.object(cls, o.key).current())
        row = self.with_defaults(cls, dict(row), [c for c in row if row[c] is not None])
        return dict(self.insert(cls, row).current())

    def merge_row(self, cls, row):
        o = self.existing(cls, row[CLASSES[cls].key])
        if o is None:
            row = self.with_defaults(cls, dict(row), [c for c in row if row[c] is not None])
            return dict(self.insert(cls, row).current())
        self.require_alive(o)
        self.change(o, {c: row[c] for c in CLASSES[cls].updatable()})
        return dict(o.current())

    def merge(self, cls, doc, known=None, must_exist=False):
        key = doc.get(CLASSES[cls].key)
        o = None if key is None else self.existing(cls, key)
        if o is None:
            if must_exist:
                raise Refused("P0002")
            return self.add(cls, doc, known)
        return self.set(cls, key, doc, known)

    def set(self, cls, key, doc, known=None):
        o = self.object(cls, key)
        if known:
            self.undelete(o)
        self.require_alive(o)
        columns, relations = self.split(cls, doc)
        for rel in relations:
            if rel.kind == "one":
                columns[rel.local] = self.resolve_one(rel, doc[rel.name])
        columns.update(known or {})
        o = self.object(cls, key)
        self.change(o, columns)
        for rel in relations:
            if (rel.kind == "one" and doc[rel.name] is None and o.state == "stored" and cls == "Card"
                    and rel.local in o.modified):
                o.orphan = True
        result = dict(o.current())
        for rel in relations:
            if rel.kind != "one":
                self.replace(rel, o.key, self.resolve_members(rel, o.key, doc[rel.name]))
        return result

    def resolve(self, cls, value, known=None):
        """The key of the object that a nested document means."""
        info = CLASSES[cls]
        if not isinstance(value, dict):
            value, must_exist = {info.key: value}, True
        else:
            must_exist = known is None and list(value) == [info.key]
        return self.merge(cls, value, known, must_exist)[info.key]

    def resolve_one(self, rel, value):
        return None if value is None else self.resolve(rel.target, value)

    def resolve_members(self, rel, owner, values):
        known = {rel.remote: owner} if rel.kind == "many" else None
        if rel.single:
            values = [] if values is None else [values]
        return [self.resolve(rel.target, value, known) for value in values]

    # -- collections ------------------------------------------------------
    def link_key(self, rel, owner, target):
        return (owner, target) if rel.owner == "Team" else (target, owner)

    def link(self, rel, owner, target):
        self.pending_links[self.link_key(rel, owner, target)] = True

    def unlink(self, rel, owner, target):
        self.pending_links[self.link_key(rel, owner, target)] = False

    def linked(self, rel, owner, links):
        side = 0 if rel.owner == "Team" else 1
        return [link[1 - side] for link in links if link[side] == owner]

    def members(self, rel, owner, load):
        """Keys of the members as the session sees them."""
        result = []
        if load and rel.kind == "m2m":
            for key in self.linked(rel, owner, self.links):
                self.load(rel.target, key)
                if (not self.find(rel.target, key).marked
                        and self.pending_links.get(self.link_key(rel, owner, key)) is not False):
                    result.append(key)
        elif load:
            for key, row in list(self.rows[rel.target].items()):
                if row[rel.remote] != owner:
                    continue
                shown = self.take_row(rel.target, row)
                if not self.find(rel.target, key).marked and shown[rel.remote] == owner:
                    result.append(key)
        if rel.kind == "m2m":
            return result + [key for key in self.linked(
                rel, owner, [link for link, there in self.pending_links.items() if there])
                if key not in result]
        for o in self.all_objects():
            if o.cls != rel.target or o.key in result:
                continue
            if o.changed is not None and not o.marked:
                row = o.changed
            elif not load and o.state == "stored":
                row = o.current()
            else:
                continue
            if row is not None and row.get(rel.remote) == owner:
                result.append(o.key)
        return result

    def set_foreign_key(self, o, column, value):
        if o.current() is not None:
            self.change(o, {column: value})
            return
        # without a look at its row
        row = dict(o.changed or {CLASSES[o.cls].key: o.key})
        row[column] = value
        o.changed, o.modified = row, o.modified | {column}

    def release(self, rel, o, orphan):
        if orphan and o.state == "pending":
            return self.delete_object(o)
        if not orphan and rel.remote in CLASSES[rel.target].not_null:
            raise Refused("23502")
        self.set_foreign_key(o, rel.remote, None)
        if orphan:
            o.orphan = True

    def append_member(self, rel, owner, member):
        self.require_alive(self.find(rel.owner, owner))
        o = self.find(rel.target, member)
        if rel.kind == "m2m":
            self.require_alive(o)
            return self.link(rel, owner, member)
        if o is None:
            o = Object(rel.target, member, "stored")
            self.put(o)
        elif o.state == "deleted":
            raise Refused("55000")
        self.undelete(o)
        self.set_foreign_key(o, rel.remote, owner)

    def remove_member(self, rel, owner, member):
        if rel.kind == "m2m":
            return self.unlink(rel, owner, member)
        o = self.object(rel.target, member)
        self.require_alive(o)
        if o.current()[rel.remote] == owner:
            self.release(rel, o, rel.orphan)

    def append(self, cls, owner, name, member):
        self.append_member(CLASSES[cls].relations[name], owner, member)

    def remove(self, cls, owner, name, member):
        self.remove_member(CLASSES[cls].relations[name], owner, member)

    def replace(self, rel, owner, members):
        before = self.members(rel, owner, True)
        for key in before:
            if key not in members:
                self.remove_member(rel, owner, key)
        for key in members:
            if key not in before:
                self.append_member(rel, owner, key)

    # -- delete and its cascades ------------------------------------------
    def delete(self, cls, key):
        self.delete_object(self.object(cls, key))

    def delete_object(self, o):
        if o.state == "deleted":
            raise Refused("55000")
        if o.state == "pending":
            self.drop(o)
            self.cascade_delete(o.cls, o.key)
            self.forget_links(o.cls, o.key)
        else:
            o.marked = True
            self.cascade_delete(o.cls, o.key)

    def cascade_delete(self, cls, key):
        for rel in CLASSES[cls].relations.values():
            if rel.kind != "many":
                continue
            for member in self.members(rel, key, not rel.passive):
                o = self.find(rel.target, member)
                if o is None:
                    if not self.load(rel.target, member):
                        continue
                    o = self.find(rel.target, member)
                elif o.state == "stored":
                    o = self.object(rel.target, member)
                if o.state == "deleted" or o.marked:
                    continue
                if rel.cascade:
                    self.delete_object(o)
                else:
                    self.release(rel, o, False)

    def forget_links(self, cls, key):
        if cls in ("Team", "Tag"):
            side = 0 if cls == "Team" else 1
            self.pending_links = {link: there for link, there in self.pending_links.items()
                                  if link[side] != key}

    def undelete(self, o):
        if not o.marked:
            return
        o.marked = False
        if o.current() is not None:
            self.visit(o, self.undelete)

    def visit(self, o, function):
        for rel in CLASSES[o.cls].relations.values():
            if not rel.cascade:
                continue
            for key in self.members(rel, o.key, False):
                found = self.find(rel.target, key)
                if found is not None:
                    function(found)

    # -- forgetting -------------------------------------------------------
    def expire_object(self, o):
        known = o.current() is not None
        if o.state != "stored":
            raise Refused("55000")
        o.stored = None
        o.keep({}, ())
        if known:
            self.visit(o, lambda other: self.expire_object(other)
                       if other.state == "stored" and other.current() is not None else None)

    def expire(self, cls, key):
        o = self.find(cls, key)
        if o is not None:
            self.expire_object(o)

    def expire_all(self):
        for o in self.all_objects():
            if o.state == "stored":
                o.stored = None
                o.keep({}, ())

    def expunge_object(self, o):
        known = o.current() is not None
        self.drop(o)
        if known:
            self.forget_links(o.cls, o.key)
            self.visit(o, self.expunge_object)

    def expunge(self, cls, key):
        o = self.find(cls, key)
        if o is not None:
            self.expunge_object(o)

    def expunge_all(self):
        self.objects, self.pending_links = {}, {}

    # -- reading ----------------------------------------------------------
    def autoflush_now(self):
        if self.autoflush:
            self.flush()

    read = autoflush_now

    def get(self, cls, key):
        o = self.find(cls, key)
        if o is not None and o.marked:
            return None
        if o is not None and o.state != "deleted" and o.current() is not None:
            return dict(o.current())
        self.autoflush_now()
        found = self.load(cls, key)
        o = self.find(cls, key)
        if o is None or o.marked or (not found and o.state != "pending"):
            return None
        return dict(o.current())

    def refresh(self, cls, key):
        self.expire(cls, key)
        self.autoflush_now()
        if not self.load(cls, key, True):
            raise Refused("P0002")
        return dict(self.find(cls, key).current())

    def query(self, cls, key):
        self.autoflush_now()
        return [self.take_row(cls, row) for k, row in list(self.rows[cls].items()) if k >= key]

    # -- rows: what the server does ---------------------------------------
    def stored_row(self, cls, row, inserting):
        """A row after its BEFORE triggers, with generated columns."""
        row = dict(row)
        if cls == "Team":
            row["twice"] = None if row["n"] is None else row["n"] * 2
        if row.get("label") is not None and (cls == "Member" or cls == "Node" and inserting):
            row["label"] = row["label"].lower()
        return row

    def row_errors(self, cls, row):
        errors = set()
        if any(row[c] is None for c in CLASSES[cls].not_null):
            errors.add("23502")
        elif cls == "Team" and row["name"] == "bad":
            errors.add("23514")
        return errors

    def reference_errors(self, cls, row):
        return {"23503" for column, target in CLASSES[cls].foreign.items()
                if row[column] is not None and row[column] not in self.rows[target]}

    def unique_errors(self):
        for cls, column in (("Tag", "name"), ("Badge", "team_id")):
            values = [row[column] for row in self.rows[cls].values() if row[column] is not None]
            if len(values) != len(set(values)):
                return {"23505"}
        return set()

    def referenced_errors(self, cls):
        """After a DELETE: what is referenced must be there."""
        errors = set()
        for other, info in CLASSES.items():
            for column, target in info.foreign.items():
                if target == cls and any(row[column] is not None and row[column] not in self.rows[cls]
                                         for row in self.rows[other].values()):
                    errors.add("23503")
        side = {"Team": 0, "Tag": 1}.get(cls)
        if side is not None and any(link[side] not in self.rows[cls] for link in self.links):
            errors.add("23503")
        return errors

    def cards_counted(self, rows):
        """The trigger of card writes to team."""
        if not rows:
            return
        for row in rows:
            team = self.rows["Team"].get(row["team_id"])
            if team is not None and team["n"] is not None:
                team["n"] += 1
                team["twice"] += 2
        self.expire_class("Team")

    def logs_cascade(self):
        """ON DELETE CASCADE."""
        self.rows["Log"] = {k: row for k, row in self.rows["Log"].items()
                            if row["team_id"] is None or row["team_id"] in self.rows["Team"]}
        self.expire_class("Log")

    def raw_insert(self, cls, row):
        self.autoflush_now()
        key = row[CLASSES[cls].key]
        row = self.stored_row(cls, row, True)
        errors = self.row_errors(cls, row)
        if key in self.rows[cls]:
            errors.add("23505")
        if errors:
            raise Refused(*errors)
        self.rows[cls][key] = row
        errors = self.reference_errors(cls, row) | self.unique_errors()
        if errors:
            raise Refused(*errors)
        self.expire_class(cls)
        if cls == "Card":
            self.cards_counted([row])

    def raw_update(self, cls, key, column, value):
        self.autoflush_now()
        row = self.rows[cls].get(key)
        if row is not None:
            row = self.stored_row(cls, {**row, column: value}, False)
            errors = self.row_errors(cls, row)
            self.rows[cls][key] = row
            errors |= (self.reference_errors(cls, row) if column in CLASSES[cls].foreign else set())
            errors |= self.unique_errors()
            if errors:
                raise Refused(*errors)
        self.expire_class(cls)

    def delete_row(self, cls, key):
        del self.rows[cls][key]
        if cls == "Team":
            self.logs_cascade()
        errors = self.referenced_errors(cls)
        if errors:
            raise Refused(*errors)

    def raw_delete(self, cls, key):
        self.autoflush_now()
        if key in self.rows[cls]:
            self.delete_row(cls, key)
        self.expire_class(cls)

    def update_where(self, cls, key, changes):
        self.autoflush_now()
        errors = set()
        for k, row in list(self.rows[cls].items()):
            if k < key:
                continue
            row = self.stored_row(cls, {**row, **changes}, False)
            errors |= self.row_errors(cls, row)
            self.rows[cls][k] = row
            o = self.find(cls, k)
            if o is None or o.state != "stored":
                continue
            if o.changed is not None:
                o.keep(o.changed, o.modified - set(changes))
            if o.stored is not None:
                self.reload(o, row)
        errors |= self.unique_errors()
        if errors:
            raise Refused(*errors)

    def delete_where(self, cls, key):
        self.autoflush_now()
        if key not in self.rows[cls]:
            return
        self.delete_row(cls, key)
        o = self.find(cls, key)
        if o is not None and o.state == "stored":
            self.object_deleted(o)

    def object_deleted(self, o):
        o.state, o.marked, o.stored = "deleted", False, None
        o.keep({}, ())

    # -- flush ------------------------------------------------------------
    def flush(self):
        if not any(o.unflushed() for o in self.all_objects()) and not self.pending_links:
            return
        self.delete_orphans()
        self.release_badges()
        late = self.flush_inserts()
        self.flush_updates()
        self.flush_links()
        self.flush_deletes()
        self.flush_late(late)

    def delete_orphans(self):
        for o in self.all_objects():
            if o.is_orphan() and not o.marked and (o.current() is not None or self.load(o.cls, o.key)):
                self.delete_object(o)

    def release_badges(self):
        """Of the one-to-one, where the session has an owner's class."""
        for o in self.all_objects():
            row = self.rows["Badge"].get(o.key) if o.cls == "Badge" and o.state == "stored" else None
            if (row is not None and o.stored is not None and o.changed is not None
                    and o.changed["team_id"] is None and o.stored["team_id"] is not None):
                row["team_id"] = None

    def raise_errors(self, errors):
        if errors:
            raise Refused(*errors)

    def late_column(self, cls, objects):
        """Of a circle of rows: inserted with NULL, and updated afterwards."""
        if cls == "Team" and any(o.cls == "Member" and o.state == "pending" for o in self.all_objects()):
            return "captain_id"
        if cls == "Node":
            parents = {o.key: o.changed["parent_id"] for o in objects if o.changed["parent_id"] != o.key}
            while parents and any(parent not in parents for parent in parents.values()):
                parents = {key: parent for key, parent in parents.items() if parent in parents}
            if parents:
                return "parent_id"
        return None

    def flush_inserts(self):
        errors, late, inserted = set(), [], []
        for cls in INSERT_ORDER:
            objects = [o for o in self.all_objects() if o.cls == cls and o.state == "pending"]
            column = self.late_column(cls, objects)
            for o in objects:
                row = self.stored_row(cls, o.changed, True)
                if column and row[column] is not None:
                    late.append((o, column, row[column]))
                    row[column] = None
                errors |= self.row_errors(cls, row)
                if o.key in self.rows[cls]:
                    errors.add("23505")
                self.rows[cls][o.key] = row
                inserted.append((o, row))
            for o in objects:
                errors |= self.reference_errors(cls, self.rows[cls][o.key])
            errors |= self.unique_errors()
        self.raise_errors(errors)
        for o, row in inserted:
            o.state, o.stored = "stored", dict(row)
            o.keep({}, ())
        self.cards_counted([row for o, row in inserted if o.cls == "Card"])
        return late

    def flush_updates(self):
        errors, moved = set(), []
        dirty = [o for o in self.all_objects()
                 if o.state == "stored" and o.changed is not None and not o.marked and not o.is_orphan()]
        for o in dirty:
            row = self.rows[o.cls].get(o.key)
            if row is None:
                errors.add("40001")
                continue
            row = {**row, **{c: o.changed[c] for c in o.modified if c != "version"}}
            row = self.stored_row(o.cls, row, False)
            if "version" in row:
                row["version"] += 1
            errors |= self.row_errors(o.cls, row)
            if any(c in o.modified for c in CLASSES[o.cls].foreign):
                errors |= self.reference_errors(o.cls, row)
            moved.append((o, row, row[CLASSES[o.cls].key]))
        badges = [(o, row) for o, row, key in moved if o.cls == "Badge"]
        taken = {self.rows["Badge"][o.key]["team_id"] for o, row in badges} - {None}
        if any(row["team_id"] in taken for o, row in badges if row["team_id"] is not None):
            self.possible.add("23505")  # in the order of the keys, or not
        errors |= self.move_rows(moved)
        errors |= self.unique_errors()
        self.raise_errors(errors)
        for o, row, key in moved:
            o.stored = dict(row)
            o.keep({}, ())
            self.rekey(o, key)

    def move_rows(self, moved):
        switches = [(o.key, key) for o, row, key in moved if o.key != key]
        olds = {old for old, new in switches}
        if any(new in olds for old, new in switches):
            # by several statements, or by one
            self.possible.add("23505")
        for o, row, key in moved:
            if o.key in self.rows[o.cls]:
                del self.rows[o.cls][o.key]
        errors = set()
        for o, row, key in moved:
            if key in self.rows[o.cls]:
                errors.add("23505")
            self.rows[o.cls][key] = row
        return errors

    def flush_links(self):
        errors = set()
        for link, there in self.pending_links.items():
            if not there:
                self.links.discard(link)
        for link, there in self.pending_links.items():
            if not there:
                continue
            if link not in self.links and (link[0] not in self.rows["Team"] or link[1] not in self.rows["Tag"]):
                errors.add("23503")
            self.links.add(link)
        self.raise_errors(errors)
        self.pending_links = {}

    def flush_deletes(self):
        errors = set()
        going = [o for o in self.all_objects() if o.state == "stored" and o.marked]
        for o in going:
            if o.cls == "Team" and o.key in self.rows["Team"] and any(m.cls == "Member" for m in going):
                self.rows["Team"][o.key]["captain_id"] = None
        for cls in reversed(INSERT_ORDER):
            marked = [o for o in self.all_objects() if o.cls == cls and o.state == "stored" and o.marked]
            keys = {o.key for o in marked}
            if cls in ("Team", "Tag"):
                side = 0 if cls == "Team" else 1
                self.links = {link for link in self.links if link[side] not in keys}
            for o in marked:
                if o.key not in self.rows[cls]:
                    errors.add("40001")
                self.rows[cls].pop(o.key, None)
            if marked and cls == "Team":
                self.logs_cascade()
            errors |= self.referenced_errors(cls)
            for o in marked:
                self.object_deleted(o)
        self.raise_errors(errors)

    def flush_late(self, late):
        for o, column, value in late:
            self.rows[o.cls][o.key][column] = value
            if value not in self.rows[CLASSES[o.cls].foreign[column]]:
                raise Refused("23503")
            o.stored = dict(self.rows[o.cls][o.key])

    # -- comparison -------------------------------------------------------
    def compare_rows(self, seen):
        for cls, info in CLASSES.items():
            rows = {row[info.key]: row for row in seen[info.table] or []}
            if rows != self.rows[cls]:
                return f"rows of {info.table}: {rows}, expected {self.rows[cls]}"
        links = {(row["team_id"], row["tag_id"]) for row in seen["team_tag"] or []}
        if links != self.links:
            return f"links: {links}, expected {self.links}"
        return None

    def compare_objects(self, seen):
        """What is loaded and what is expired is the server's choice."""
        actual = {}
        for row in seen:
            (key,) = row["identity"].values()
            actual.setdefault((row["class"], key), []).append(row["state"])
        for identity, found in list(self.objects.items()):
            expected = sorted(o.text() for o in found if o.state != "deleted")
            states = sorted(actual.pop(identity, []))
            if self.limited and not states and expected in (["persistent"], ["expired"]):
                self.objects.pop(identity)
                continue
            if len(found) == 1 and states in (["persistent"], ["expired"]) and expected in (
                    ["persistent"], ["expired"]):
                self.adopt(found[0], states[0] == "persistent")
            elif states != expected:
                return f"{identity} is {states}, expected {expected}"
        if actual:
            return f"unexpected objects: {actual}"
        return None

    def adopt(self, o, loaded):
        if not loaded:
            o.stored = None
        elif o.stored is None:
            o.stored = dict(self.rows[o.cls].get(o.key, {"not": "stored"}))

    def values(self):
        """What orm.get shows of the objects whose rows are known."""
        return {identity: dict(found[-1].current()) for identity, found in self.objects.items()
                if not found[-1].marked and found[-1].current() is not None}
