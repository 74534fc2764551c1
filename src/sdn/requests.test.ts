import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { ClaimRequestSchema, SetOwnerRequestSchema, SetServiceRequestSchema } from '../api/gen/comicran_pb.ts';
import { hostAddress, parseClaim, parseSetOwner, parseSetService } from './requests.ts';

const CLAIM = {
  sandbox: 'square',
  address: '10.88.0.5',
  vm: 'vm1',
  vmAddress: '10.77.1.2',
  ports: [
    { port: 5006, protocol: 'udp', service: 5006 },
    { port: 5007, protocol: 'udp', publish: 5007 },
  ],
};
const claim = (change: object) => parseClaim(create(ClaimRequestSchema, { ...CLAIM, ...change }));
const invalid = (run: () => unknown, message: RegExp): void => assert.throws(run, { code: 'config.invalid', message });

test('a claim: the ports that have a service', () => {
  assert.deepEqual(claim({}).services, [{ port: 5006, protocol: 'udp', service: 5006 }]);
});

test('a claim that cannot be meant is refused', () => {
  const port = (change: object) => ({ ports: [{ ...CLAIM.ports[0], ...change }] });
  invalid(() => claim({ sandbox: '' }), /'' is not a name of a sandbox/);
  invalid(() => claim({ sandbox: '../x' }), /not a name of a sandbox/);
  invalid(() => claim({ vm: 'sdn' }), /'sdn' is not a name of a virtual machine/);
  invalid(() => claim({ address: '10.88.0' }), /not an IPv4 address/);
  invalid(() => claim({ address: '127.0.0.1' }), /the sandbox address 127\.0\.0\.1 is not an address/);
  invalid(() => claim({ vmAddress: '224.0.0.1' }), /the machine address/);
  invalid(() => claim(port({ port: 0 })), /port 0 is not a port number/);
  invalid(() => claim(port({ service: 65_536 })), /service port 65536/);
  invalid(() => claim(port({ protocol: 'sctp' })), /'sctp' is neither udp nor tcp/);
});

test('addresses that no host has', () => {
  for (const address of ['0.0.0.0', '127.0.0.1', '169.254.1.1', '224.0.0.1', '255.255.255.255']) {
    invalid(() => hostAddress(address, 'x'), /is not an address that a host can have/);
  }
  assert.equal(hostAddress('192.168.1.1', 'x'), '192.168.1.1');
});

test('a change of the owner', () => {
  const request = { sandbox: 'square', vm: 'vm2', vmAddress: '10.77.2.2', expectedEpoch: 3n, migrationId: 'm' };
  assert.equal(parseSetOwner(create(SetOwnerRequestSchema, request)).expectedEpoch, 3n);
  const long = create(SetOwnerRequestSchema, { ...request, migrationId: 'x'.repeat(200) });
  invalid(() => parseSetOwner(long), /200 characters/);
});

test('a service by hand', () => {
  const parse = (service?: object) =>
    parseSetService(create(SetServiceRequestSchema, service === undefined ? {} : { service }), '10.77.0.1');
  const service = { port: 80, protocol: 'tcp', sandbox: 'square', sandboxPort: 8080 };
  assert.deepEqual(parse(service), service);
  assert.deepEqual(parse({ ...service, address: '10.77.0.1' }), service);
  invalid(() => parse(), /no service/);
  invalid(() => parse({ ...service, address: '10.77.0.9' }), /serves 10\.77\.0\.1, not 10\.77\.0\.9/);
  invalid(() => parse({ ...service, sandboxPort: 0 }), /port 0/);
});
