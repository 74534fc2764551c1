/** What came over the wire, checked and turned into what the decisions take. Pure. */

import type {
  AnnounceMigrationRequest,
  ClaimRequest,
  OpenRecordChannelRequest,
  Port,
  SetOwnerRequest,
  SetServiceRequest,
  TakeOverOwnershipRequest,
} from '../api/gen/comicran_pb.ts';
import { isVmName } from '../api/names.ts';
import { assert } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import { ipv4Bytes } from '../base/ipv4.ts';
import type { Protocol } from '../base/sandbox-config.ts';
import type { Take } from './controller.ts';
import type { Announce } from './decide-migration.ts';
import type { TakeOver } from './decide-takeover.ts';
import type { Claim, ServicePort, SetOwner, SetService } from './decisions.ts';

const SANDBOX_NAME = /^[a-z][a-z0-9-]{0,31}$/;
const MAX_MIGRATION_ID = 128;
/** Of a migration that is announced, and how long packets are taken from both machines after it. */
const LONGEST_DEADLINE_MS = 3_600_000;
const AFTER_DEADLINE_MS = 60_000;

function invalid(problem: string): ComicranError {
  return new ComicranError('config.invalid', problem);
}

function sandboxName(name: string): string {
  if (!SANDBOX_NAME.test(name)) throw invalid(`'${name}' is not a name of a sandbox`);
  return name;
}

function migrationId(id: string): string {
  if (id.length > MAX_MIGRATION_ID) {
    throw invalid(`a migration id of ${id.length} characters; ${MAX_MIGRATION_ID} are the most`);
  }
  return id;
}

function vmName(name: string): string {
  if (!isVmName(name)) throw invalid(`'${name}' is not a name of a virtual machine`);
  return name;
}

/** An address that a single host can have. @throws ComicranError config.invalid */
export function hostAddress(address: string, what: string): string {
  const bytes = ipv4Bytes(address);
  const [first, second] = bytes;
  assert(first !== undefined && second !== undefined, 'an IPv4 address of four bytes');
  // This network, loopback, link-local, multicast and reserved: RFC 6890.
  if (first === 0 || first === 127 || first >= 224 || (first === 169 && second === 254)) {
    throw invalid(`${what} ${address} is not an address that a host can have`);
  }
  return address;
}

export function protocolOf(text: string): Protocol {
  if (text !== 'udp' && text !== 'tcp') throw invalid(`the protocol '${text}' is neither udp nor tcp`);
  return text;
}

function portNumber(port: number, what: string): number {
  if (port < 1 || port > 65_535) throw invalid(`${what} ${port} is not a port number from 1 to 65535`);
  return port;
}

function servicePorts(ports: readonly Port[]): ServicePort[] {
  return ports
    .filter(({ service }) => service !== 0)
    .map(({ port, protocol, service }) => ({
      port: portNumber(port, 'port'),
      protocol: protocolOf(protocol),
      service: portNumber(service, 'service port'),
    }));
}

export function parseClaim(request: ClaimRequest): Claim {
  return {
    sandbox: sandboxName(request.sandbox),
    address: hostAddress(request.address, 'the sandbox address'),
    vm: vmName(request.vm),
    vmAddress: hostAddress(request.vmAddress, 'the machine address'),
    services: servicePorts(request.ports),
  };
}

export function parseSetOwner(request: SetOwnerRequest): SetOwner {
  const { sandbox, expectedEpoch, vm } = request;
  const by = request.byVm === '' ? vm : request.byVm;
  return {
    sandbox,
    expectedEpoch,
    vm: vmName(vm),
    vmAddress: by === vm ? hostAddress(request.vmAddress, 'the machine address') : '',
    by: vmName(by),
    migrationId: migrationId(request.migrationId),
  };
}

/** A channel is of one migration, which therefore has to have a name. */
export function parseOpenRecord(request: Omit<OpenRecordChannelRequest, '$typeName'>): Take {
  if (request.migrationId === '') throw invalid('no migration is named');
  const { sandbox, expectedEpoch, vm, vmAddress } = request;
  const address = hostAddress(vmAddress, 'the machine address');
  return { sandbox, expectedEpoch, vm: vmName(vm), vmAddress: address, migrationId: migrationId(request.migrationId) };
}

/** The same of a takeover. */
export function parseTakeOver(request: TakeOverOwnershipRequest): Omit<TakeOver, 'ownerLink' | 'link'> {
  return { ...parseOpenRecord(request), sourceIsOff: request.sourceIsOff };
}

export function parseAnnounce(request: AnnounceMigrationRequest, nowMs: number): Announce {
  if (request.migrationId === '') throw invalid('no migration is named');
  const { sandbox, epoch, fromVm, toVm, deadlineMs, lateRoute } = request;
  const untilMs = nowMs + Math.min(deadlineMs, LONGEST_DEADLINE_MS) + AFTER_DEADLINE_MS;
  return {
    sandbox,
    migrationId: migrationId(request.migrationId),
    epoch,
    from: vmName(fromVm),
    to: vmName(toVm),
    untilMs,
    lateRoute,
  };
}

export function parseSetService(request: SetServiceRequest, serviceAddress: string): SetService {
  const { service } = request;
  if (service === undefined) throw invalid('no service is given');
  if (service.address !== '' && service.address !== serviceAddress) {
    throw invalid(`this sdn node serves ${serviceAddress}, not ${service.address}`);
  }
  return {
    port: portNumber(service.port, 'service port'),
    protocol: protocolOf(service.protocol),
    sandbox: service.sandbox,
    sandboxPort: portNumber(service.sandboxPort, 'port'),
  };
}
