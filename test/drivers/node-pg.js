// node's pg, as the README's driver page says to use it
'use strict';

const { Pool } = require('pg');

let count = 0;
let failed = 0;

function same(got, wanted, name) {
	count++;
	if (JSON.stringify(got) === JSON.stringify(wanted)) {
		console.log(`ok ${count} - ${name}`);
		return;
	}
	failed++;
	console.log(`not ok ${count} - ${name}`);
	console.log(`#      got: ${JSON.stringify(got)}`);
	console.log(`#   wanted: ${JSON.stringify(wanted)}`);
}

async function errorOf(client, text, values) {
	try {
		await client.query(text, values);
	} catch (error) {
		return error.code;
	}
	return undefined;
}

async function values(pool) {
	let result = await pool.query(
		'SELECT id, name, age FROM orm.add(NULL::users, $1)',
		[{ name: 'lqz', age: 5 }]);
	same(result.rows, [{ id: 1, name: 'lqz', age: 5 }],
		'an object goes as JSON, a call in FROM gives columns');

	result = await pool.query('SELECT orm.add(NULL::hobby, $1)', [{ id: 1 }]);
	same(result.rows, [{ add: '(1,篮球)' }],
		'a call in the select list gives the row as text');

	const people = [{ name: 'lqzee' }, { name: 'egon' }];
	same(await errorOf(pool, 'SELECT orm.add_all(NULL::users, $1)', [people]),
		'22P02', 'a plain array becomes a PostgreSQL array');
	result = await pool.query('SELECT name FROM orm.add_all(NULL::users, $1)',
		[JSON.stringify(people)]);
	same(result.rows, people, 'an array goes through JSON.stringify');

	result = await pool.query('SELECT name FROM orm.get(NULL::users, $1)', [1]);
	same(result.rows, [{ name: 'lqz' }], 'get with an untyped parameter');

	result = await pool.query(
		'SELECT orm.update_where(NULL::users, $1, set => $2, params => $3)',
		['id >= :low', 'age = coalesce(age, 0) + 1', { low: 1 }]);
	same(result.rows, [{ update_where: '3' }], 'a bigint comes as a string');

	result = await pool.query('SELECT id, ctime FROM users WHERE id = 1');
	same(result.rows[0].ctime instanceof Date, true, 'types are real');
}

async function criteria(pool) {
	same(await errorOf(pool, 'SELECT orm.delete_where(NULL::users, $1)',
		[undefined]), '22023', 'an undefined filter is no criteria');
	same(await errorOf(pool,
		'SELECT orm.delete_where(NULL::users, filter_by => $1)',
		[{ name: undefined }]), '22023', 'nor is an object of undefined');
	same(await errorOf(pool, 'SELECT * FROM orm.one(NULL::users, $1)',
		['id = 77']), 'P0002', 'one() without a row');
}

async function transactions(pool) {
	const client = await pool.connect();
	const watcher = await pool.connect();
	const names = async () => (await watcher.query(
		"SELECT name FROM users WHERE name LIKE 'tx%' ORDER BY name")).rows
		.map((row) => row.name);

	await client.query('BEGIN');
	await client.query('SELECT orm.add(NULL::users, $1)', [{ name: 'tx1' }]);
	same(await names(), [], 'nobody else sees pending objects');
	await client.query('COMMIT');
	same(await names(), ['tx1'], 'COMMIT flushes');

	await client.query('BEGIN');
	await client.query('SELECT orm.add(NULL::users, $1)',
		[{ id: 1, name: 'twice' }]);
	same(await errorOf(client, 'COMMIT'), '23505',
		'COMMIT rejects when the flush fails');
	await client.query('ROLLBACK');

	await client.query("CALL orm.begin('web/request-42')");
	await client.query('SELECT orm.add(NULL::users, $1)', [{ name: 'tx2' }]);
	await client.query('CALL orm.begin_nested()');
	await client.query('SELECT orm.add(NULL::users, $1)', [{ name: 'tx3' }]);
	await client.query('CALL orm.rollback_nested()');
	await client.query('CALL orm.commit()');
	await client.query("CALL orm.close('web/request-42')");
	same(await names(), ['tx1', 'tx2'], 'begin, nested levels and commit');

	same(await errorOf(client, 'SELECT orm.add(NULL::users, $1)', [{ age: 1 }]),
		'23502', 'a flush that fails rejects its autocommit statement');
	same((await client.query('SELECT 1 AS one')).rows, [{ one: 1 }],
		'after which the client goes on');
	client.release();
	watcher.release();
}

// a named query is prepared once; its plan becomes a generic one in the end
async function prepared(pool) {
	const client = await pool.connect();

	for (let i = 0; i < 8; i++)
		await client.query({
			name: 'add', text: 'SELECT id FROM orm.add(NULL::girl, $1)',
			values: [{ name: `g${i}` }]
		});
	await client.query('BEGIN');
	for (let i = 8; i < 16; i++) {
		await client.query({
			name: 'add', text: 'SELECT id FROM orm.add(NULL::girl, $1)',
			values: [{ name: `g${i}` }]
		});
		const seen = await client.query({
			name: 'count', text: 'SELECT count(*)::int AS n FROM girl'
		});
		if (seen.rows[0].n !== i + 1)
			same(seen.rows[0].n, i + 1, 'a prepared query sees what is pending');
	}
	await client.query('COMMIT');
	const result = await client.query('SELECT count(*)::int AS n FROM girl');
	same(result.rows, [{ n: 16 }], 'prepared calls, again and again');
	client.release();
}

async function main() {
	const pool = new Pool({ max: 2 });

	for (const part of [values, criteria, transactions, prepared])
		await part(pool);
	await pool.end();
	console.log(`1..${count}`);
	process.exitCode = failed > 0 ? 1 : 0;
}

main().catch((error) => {
	console.log(`not ok ${count + 1} - ${error.stack}`);
	process.exitCode = 1;
});
