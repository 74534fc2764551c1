import { type Announcement, type Edit, isLate, type Location, serviceKey, type Tables } from './tables.ts';

/** The edits that take back edits, by the tables from before. */
export function inverseOf(edits: readonly Edit[], before: Tables): Edit[] {
  return edits.toReversed().map((edit): Edit => {
    if ('location' in edit) {
      const location = before.locations.get(edit.location.sandbox);
      if (location === undefined) return { kind: 'remove-location', location: edit.location };
      return { kind: edit.kind === 'set-owner' ? 'set-owner' : 'put-location', location };
    }
    if ('announcement' in edit) {
      const announcement = before.announcements.get(edit.announcement.sandbox);
      return announcement === undefined
        ? { kind: 'remove-announcement', announcement: edit.announcement }
        : { kind: 'put-announcement', announcement };
    }
    const service = before.services.get(serviceKey(edit.service));
    return service === undefined ? { kind: 'remove-service', service: edit.service } : { kind: 'put-service', service };
  });
}

function describeAnnouncement({ sandbox, migrationId, from, to }: Announcement): string {
  return `${sandbox}: migration ${migrationId} from ${from} to ${to}`;
}

function describeLocation(location: Location, former: Location | undefined): string {
  const { sandbox, address, vm, vmAddress, epoch, migrationId } = location;
  if (former !== undefined && isLate(former) && former.epoch === epoch)
    return `${sandbox} ${address}: the route follows to ${vm}, via ${vmAddress}`;
  const from = former === undefined ? 'new' : `from ${former.vm}, epoch ${former.epoch}`;
  const why = migrationId === '' ? '' : ` (migration ${migrationId})`;
  const route = isLate(location) ? `, the route goes via ${location.via} still` : '';
  return `${sandbox} ${address} on ${vm} via ${vmAddress}, epoch ${epoch}: ${from}${why}${route}`;
}

/** A change in words, for the log. */
export function describeEdit(edit: Edit, before: Tables): string {
  switch (edit.kind) {
    case 'put-announcement': {
      const { announcement } = edit;
      const former = before.announcements.get(announcement.sandbox);
      if (former?.migrationId !== announcement.migrationId) return `${describeAnnouncement(announcement)} is announced`;
      if (former.toLink !== '' && announcement.toLink === '')
        return `${describeAnnouncement(announcement)}: packets from ${former.from} are refused from now on`;
      if (former.toLink === '')
        return `${describeAnnouncement(announcement)}: packets are taken from ${announcement.fromLink} and ${announcement.toLink}`;
      const location = before.locations.get(announcement.sandbox);
      return location !== undefined && isLate(location)
        ? `${describeAnnouncement(announcement)} has changed the owner: ${announcement.to} has to say when the route is to follow`
        : `${describeAnnouncement(announcement)} has changed the owner: packets from ${former.from} are refused soon`;
    }
    case 'remove-announcement':
      return `${describeAnnouncement(edit.announcement)} is over`;
    case 'put-location':
    case 'set-owner':
      return describeLocation(edit.location, before.locations.get(edit.location.sandbox));
    case 'remove-location':
      return `${edit.location.sandbox} ${edit.location.address} ended on ${edit.location.vm}`;
    case 'put-service':
      return `service ${serviceKey(edit.service)} leads to ${edit.service.sandbox} port ${edit.service.sandboxPort}`;
    case 'remove-service':
      return `service ${serviceKey(edit.service)} of ${edit.service.sandbox} ended`;
  }
}
