// Drives the Cloudflare-compatible API with the official TypeScript client, unmodified.
//
// Arguments: the API's URL, a key, a zone id, the folder that the client is installed in, and one with
// `ecdsa.pem`, `ecdsa.key`, `rsa.pem` and `rsa.key` for `app.customer.example`. The
// DNS of that name leads elsewhere until the folder has a file `mend`, and to the edge soon afterwards.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');

const [url, key, zone_id, installed, folder] = process.argv.slice(2);
const Cloudflare = require(path.join(installed, 'node_modules/cloudflare'));

const NAME = 'app.customer.example';
const client = new Cloudflare({ apiToken: key, baseURL: url, maxRetries: 1, timeout: 20_000 });
const hostnames = client.customHostnames;
const pem = (name) => fs.readFileSync(path.join(folder, name), 'utf8');

// Expects a refusal with this status and number.
async function refused(call, status, code) {
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof Cloudflare.APIError, String(error));
    assert.equal(error.status, status);
    assert.equal(error.errors[0].code, code);
    return true;
  });
}

async function all(filters = {}) {
  const found = [];
  for await (const own of hostnames.list({ zone_id, per_page: 3, ...filters })) {
    found.push(own.hostname);
  }
  return found;
}

async function createsAndReads() {
  const created = await hostnames.create({
    zone_id,
    hostname: NAME,
    custom_metadata: { plan: 'gold' },
    custom_origin_server: 'origin2.customer.example',
    ssl: { method: 'txt', type: 'dv', settings: { http2: 'off', min_tls_version: '1.2' } },
  });
  const read = await hostnames.get(created.id, { zone_id });
  for (const own of [created, read]) {
    assert.equal(own.hostname, NAME);
    assert.equal(own.status, 'pending');
    assert.deepEqual(own.custom_metadata, { plan: 'gold' });
    assert.equal(own.custom_origin_server, 'origin2.customer.example');
    assert.equal(own.ssl.method, 'txt');
    assert.equal(own.ssl.settings.http2, 'off');
    assert.equal(own.ownership_verification.name, `_cf-custom-hostname.${NAME}`);
  }
  return created.id;
}

async function lists(id) {
  const names = [...Array(7).keys()].map((number) => `n${number}.customer.example`);
  for (const hostname of names) {
    await hostnames.create({ zone_id, hostname });
  }
  assert.deepEqual(await all(), [NAME, ...names]);
  assert.deepEqual(await all({ id }), [NAME]);
  assert.deepEqual(await all({ hostname: { contain: 'n3' } }), [names[3]]);
  assert.deepEqual(await all({ direction: 'desc' }), [...names.reverse(), NAME]);
  assert.deepEqual(await all({ ssl: 0 }), []);
  assert.equal((await all({ hostname_status: 'pending' })).length, 8);
  const past = await hostnames.list({ zone_id, page: 9 });
  assert.deepEqual(past.result, []);
  for await (const own of hostnames.list({ zone_id, hostname: { startsWith: 'n' }, per_page: 50 })) {
    assert.equal((await hostnames.delete(own.id, { zone_id })).id, own.id);
  }
}

async function refuses(id) {
  const create = (more) => () => hostnames.create({ zone_id, hostname: 'b.customer.example', ...more });
  await refused(create({ hostname: NAME }), 409, 1406);
  await refused(create({ hostname: '192.0.2.1' }), 400, 1407);
  await refused(create({ ssl: { method: 'email', type: 'dv' } }), 400, 1432);
  await refused(() => hostnames.get('0'.repeat(32), { zone_id }), 404, 1436);
  await refused(() => hostnames.get(id, { zone_id: '0'.repeat(32) }), 404, 7003);
  const stranger = new Cloudflare({ apiToken: 'lf_1_wrong', baseURL: url, maxRetries: 0 });
  await refused(() => stranger.customHostnames.get(id, { zone_id }), 401, 10000);
}

// Calls until what is answered has the status `active`.
async function untilActive(call) {
  const end = Date.now() + 30_000;
  for (;;) {
    const answer = await call();
    if (answer.status === 'active') return answer;
    assert.ok(Date.now() < end, JSON.stringify(answer));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function becomesActive(id) {
  const check = () => hostnames.edit(id, { zone_id, ssl: { method: 'txt', type: 'dv' } });
  const pending = await check();
  assert.equal(pending.status, 'pending');
  assert.ok(pending.verification_errors.some((error) => error.includes('203.0.113.9')));
  fs.writeFileSync(path.join(folder, 'mend'), '');
  const active = await untilActive(check);
  assert.equal(active.verification_errors, undefined);
  assert.equal(active.ownership_verification, undefined);
  await untilActive(() => hostnames.get(id, { zone_id }));
  await untilActive(async () => (await hostnames.get(id, { zone_id })).ssl);
  assert.deepEqual(await all({ hostname_status: 'active' }), [NAME]);
  assert.deepEqual(await all({ ssl_status: 'active' }), [NAME]);
}

async function edits(id) {
  const edited = await hostnames.edit(id, { zone_id, custom_metadata: { tier: '2' } });
  assert.deepEqual(edited.custom_metadata, { tier: '2' });
  const pair = (kind) => ({ custom_certificate: pem(`${kind}.pem`), custom_key: pem(`${kind}.key`) });
  const custom_cert_bundle = [pair('rsa'), pair('ecdsa')];
  const { ssl } = await hostnames.edit(id, { zone_id, ssl: { custom_cert_bundle } });
  assert.equal(ssl.custom_certificate, pem('ecdsa.pem'));
  assert.deepEqual(ssl.hosts, [NAME]);
  assert.equal(ssl.custom_key, undefined);
}

async function setsAFallbackOrigin() {
  const { fallbackOrigin } = hostnames;
  await fallbackOrigin.update({ zone_id, origin: 'fallback.customer.example' });
  const got = await fallbackOrigin.get({ zone_id });
  assert.equal(got.origin, 'fallback.customer.example');
  assert.ok(['pending_deployment', 'active'].includes(got.status));
  await fallbackOrigin.delete({ zone_id });
  await refused(() => fallbackOrigin.get({ zone_id }), 404, 1551);
}

async function main() {
  const id = await createsAndReads();
  await lists(id);
  await refuses(id);
  await becomesActive(id);
  await edits(id);
  await setsAFallbackOrigin();
  assert.equal((await hostnames.delete(id, { zone_id })).id, id);
  await refused(() => hostnames.delete(id, { zone_id }), 404, 1436);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
