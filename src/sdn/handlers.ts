/** The rpc face of the controller: who may, then the controller, then the answer in the contract's words. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import type { LocationSchema, Sdn, ServiceSchema } from '../api/gen/comicran_pb.ts';
import { requireActsFor } from '../api/server.ts';
import type { CountedService, SdnController } from './controller.ts';
import type { RecordFace } from './record-face.ts';
import {
  parseAnnounce,
  parseClaim,
  parseOpenRecord,
  parseSetOwner,
  parseSetService,
  parseTakeOver,
  protocolOf,
} from './requests.ts';
import type { Location, Service } from './tables.ts';

function locationMessage(location: Location): MessageInitShape<typeof LocationSchema> {
  const { sandbox, address, vm, vmAddress, epoch } = location;
  return { sandbox, address, vm, vmAddress, epoch };
}

function serviceMessage(
  service: Service | CountedService,
  serviceAddress: string,
): MessageInitShape<typeof ServiceSchema> {
  return { ...service, address: serviceAddress };
}

export function sdnHandlers(controller: SdnController, records: RecordFace): ServiceImpl<typeof Sdn> {
  const { serviceAddress } = controller;
  return {
    claim(request, context) {
      const claim = parseClaim(request);
      requireActsFor(context, claim.vm);
      const { location, services } = controller.claim(claim);
      return {
        location: locationMessage(location),
        services: services.map((service) => serviceMessage(service, serviceAddress)),
      };
    },

    setOwner(request, context) {
      const change = parseSetOwner(request);
      requireActsFor(context, change.by ?? change.vm);
      const { changed, location } = controller.setOwner(change);
      return { changed, location: locationMessage(location) };
    },

    takeOverOwnership(request, context) {
      const takeOver = parseTakeOver(request);
      requireActsFor(context, takeOver.vm);
      const { changed, location } = controller.takeOver(takeOver);
      return { changed, location: locationMessage(location) };
    },

    announceMigration(request, context) {
      const announce = parseAnnounce(request, Date.now());
      requireActsFor(context, announce.from);
      controller.announce(announce);
      return {};
    },

    leadPackets({ sandbox, migrationId, vm }, context) {
      requireActsFor(context, vm);
      controller.lead({ sandbox, migrationId, vm });
      return {};
    },

    endMigration({ sandbox, migrationId, vm }, context) {
      requireActsFor(context, vm);
      controller.endMigration({ sandbox, migrationId, vm });
      records.dismiss(migrationId);
      return {};
    },

    openRecordChannel(request, context) {
      const take = parseOpenRecord(request);
      requireActsFor(context, take.vm);
      return records.admit(take, controller.openRecord(take));
    },

    release({ sandbox, vm, epoch }, context) {
      requireActsFor(context, vm);
      controller.release({ sandbox, vm, epoch });
      return {};
    },

    locate({ sandbox }) {
      const location = controller.locate(sandbox);
      return location === undefined ? {} : { location: locationMessage(location) };
    },

    listLocations: () => ({ locations: controller.locations().map(locationMessage) }),

    listServices: () => ({
      services: controller.services().map((service) => serviceMessage(service, serviceAddress)),
    }),

    setService(request, context) {
      const service = parseSetService(request, serviceAddress);
      const owner = controller.locate(service.sandbox)?.vm;
      if (owner !== undefined) requireActsFor(context, owner);
      return { service: serviceMessage(controller.setService(service), serviceAddress) };
    },

    unsetService(request, context) {
      const key = { port: request.port, protocol: protocolOf(request.protocol) };
      const sandbox = controller.service(key)?.sandbox;
      const owner = sandbox === undefined ? undefined : controller.locate(sandbox)?.vm;
      if (owner !== undefined) requireActsFor(context, owner);
      controller.unsetService(key);
      return {};
    },
  };
}
