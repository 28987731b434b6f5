"""IMDbench's queries in SQLAlchemy: the classes, and an answer as a dict.

Loaders are chosen for few round trips: selectinload for collections,
joinedload for what is one to one; no columns but those that are wanted.
"""

from sqlalchemy import (Column, DateTime, ForeignKey, Integer, Text,
                        create_engine, func, select)
from sqlalchemy.orm import (column_property, declarative_base, joinedload,
                            load_only, relationship, selectinload,
                            sessionmaker)
from sqlalchemy.pool import StaticPool

Base = declarative_base()


class User(Base):
    __tablename__ = 'users'
    id = Column(Integer, primary_key=True)
    name = Column(Text, nullable=False)
    image = Column(Text, nullable=False)


class Person(Base):
    __tablename__ = 'persons'
    id = Column(Integer, primary_key=True)
    first_name = Column(Text, nullable=False)
    middle_name = Column(Text, nullable=False, default='')
    last_name = Column(Text, nullable=False)
    image = Column(Text, nullable=False)
    bio = Column(Text, nullable=False)

    @property
    def full_name(self):
        names = (self.first_name, self.middle_name, self.last_name)
        return ' '.join(name for name in names if name)


class Review(Base):
    __tablename__ = 'reviews'
    id = Column(Integer, primary_key=True)
    body = Column(Text, nullable=False)
    rating = Column(Integer, nullable=False)
    creation_time = Column(DateTime(timezone=True), nullable=False)
    author_id = Column(Integer, ForeignKey('users.id'), nullable=False)
    movie_id = Column(Integer, ForeignKey('movies.id'), nullable=False)
    author = relationship('User')
    movie = relationship('Movie', back_populates='reviews')


class Role:
    id = Column(Integer, primary_key=True)
    list_order = Column(Integer)


class Director(Role, Base):
    __tablename__ = 'directors'
    person_id = Column(Integer, ForeignKey('persons.id'), nullable=False)
    movie_id = Column(Integer, ForeignKey('movies.id'), nullable=False)
    person = relationship('Person', backref='directed')
    movie = relationship('Movie', back_populates='directors')


class Actor(Role, Base):
    __tablename__ = 'actors'
    person_id = Column(Integer, ForeignKey('persons.id'), nullable=False)
    movie_id = Column(Integer, ForeignKey('movies.id'), nullable=False)
    person = relationship('Person', backref='acted_in')
    movie = relationship('Movie', back_populates='cast')


class Movie(Base):
    __tablename__ = 'movies'
    id = Column(Integer, primary_key=True)
    image = Column(Text, nullable=False)
    title = Column(Text, nullable=False)
    year = Column(Integer, nullable=False)
    description = Column(Text, nullable=False)
    cast = relationship('Actor', back_populates='movie')
    directors = relationship('Director', back_populates='movie')
    reviews = relationship('Review', back_populates='movie',
                           order_by='Review.creation_time.desc(), Review.id')
    avg_rating = column_property(
        select(func.avg(Review.rating)).where(Review.movie_id == id)
        .correlate_except(Review).scalar_subquery(), deferred=True)


def in_order(roles):
    return [r.person for r in sorted(roles, key=lambda r: (
        r.list_order is None, r.list_order or 0, r.person.last_name,
        r.person.id))]


def person_dict(person):
    return {'id': person.id, 'full_name': person.full_name,
            'image': person.image}


def person_fields():
    return load_only(Person.first_name, Person.middle_name,
                     Person.last_name, Person.image)


def movie_fields():
    return load_only(Movie.image, Movie.title, Movie.year, Movie.avg_rating)


class Queries:
    def __init__(self, connection):
        self.connection = connection
        engine = create_engine('postgresql://', poolclass=StaticPool,
                               creator=lambda: connection)
        self.session = sessionmaker(bind=engine)()

    def close(self):
        self.session.close()
        self.connection.close()

    def answer(self, query, arguments):
        """In the transaction that is open; the caller ends it."""
        return getattr(self, query)(*arguments)

    def one(self, entity, ident, *options):
        return self.session.execute(
            select(entity).where(entity.id == ident).options(*options)
        ).scalar_one()

    def get_movie(self, ident):
        people = [selectinload(role).joinedload(kind.person).options(
                      person_fields())
                  for role, kind in ((Movie.directors, Director),
                                     (Movie.cast, Actor))]
        movie = self.one(
            Movie, ident, load_only(Movie.image, Movie.title, Movie.year,
                                    Movie.description, Movie.avg_rating),
            *people, selectinload(Movie.reviews).joinedload(Review.author))
        return {
            'id': movie.id, 'image': movie.image, 'title': movie.title,
            'year': movie.year, 'description': movie.description,
            'avg_rating': movie.avg_rating,
            'directors': [person_dict(p) for p in in_order(movie.directors)],
            'cast': [person_dict(p) for p in in_order(movie.cast)],
            'reviews': [{
                'id': r.id, 'body': r.body, 'rating': r.rating,
                'author': {'id': r.author.id, 'name': r.author.name,
                           'image': r.author.image}} for r in movie.reviews]}

    def get_user(self, ident):
        user = self.one(User, ident)
        reviews = self.session.execute(
            select(Review).where(Review.author_id == ident)
            .order_by(Review.creation_time.desc(), Review.id).limit(10)
            .options(joinedload(Review.movie).options(movie_fields()))
        ).scalars()
        return {
            'id': user.id, 'name': user.name, 'image': user.image,
            'latest_reviews': [{
                'id': r.id, 'body': r.body, 'rating': r.rating,
                'movie': {'id': r.movie.id, 'image': r.movie.image,
                          'title': r.movie.title,
                          'avg_rating': r.movie.avg_rating}}
                for r in reviews]}

    def get_person(self, ident):
        person = self.one(
            Person, ident,
            selectinload(Person.acted_in).joinedload(Actor.movie).options(
                movie_fields()),
            selectinload(Person.directed).joinedload(Director.movie).options(
                movie_fields()))

        def movies(roles):
            ordered = sorted((r.movie for r in roles),
                             key=lambda m: (m.year, m.title, m.id))
            return [{'id': m.id, 'image': m.image, 'title': m.title,
                     'year': m.year, 'avg_rating': m.avg_rating}
                    for m in ordered]
        return dict(person_dict(person), bio=person.bio,
                    acted_in=movies(person.acted_in),
                    directed=movies(person.directed))

    def movie_answer(self, movie):
        def people(roles):
            return [dict(person_dict(p), first_name=p.first_name,
                         last_name=p.last_name, bio=p.bio)
                    for p in in_order(roles)]
        return {'id': movie.id, 'image': movie.image, 'title': movie.title,
                'year': movie.year, 'description': movie.description,
                'directors': people(movie.directors),
                'cast': people(movie.cast)}

    def insert_movie(self, columns, people):
        persons = {p.id: p for p in self.session.execute(
            select(Person).where(Person.id.in_(people))).scalars()}
        movie = Movie(directors=[Director(person=persons[people[0]])],
                      cast=[Actor(person=persons[p]) for p in people[1:]],
                      **columns)
        self.session.add(movie)
        self.session.flush()
        return self.movie_answer(movie)

    def insert_movie_plus(self, columns, people):
        director, *actors = [Person(**p) for p in people]
        movie = Movie(directors=[Director(person=director)],
                      cast=[Actor(person=p) for p in actors], **columns)
        self.session.add(movie)
        self.session.flush()
        return self.movie_answer(movie)

    def update_movie(self, ident):
        movie = self.one(Movie, ident,
                         load_only(Movie.title))
        movie.title = f'{movie.title}---{str(movie.id)[:8]}'
        self.session.flush()
        return {'id': movie.id, 'title': movie.title}

    def insert_user(self, columns):
        user = User(**columns)
        self.session.add(user)
        self.session.flush()
        return {'id': user.id, 'name': user.name, 'image': user.image}
