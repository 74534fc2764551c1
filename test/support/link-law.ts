/** What a link has done to requests and answers, against what client and server have seen. */
import assert from 'node:assert/strict';
import type { ClientFigures } from '../../src/lab/demo/figures.ts';
import { askCount } from './probe.ts';
import type { RoughLink } from './rough-link.ts';
import type { Counts } from './rough-link-plan.ts';

export type LinkWatch = {
  /** The load has ended, and the link is whole. @throws where a request or an answer was lost, doubled or changed otherwise */
  check(report: ClientFigures): Promise<void>;
};

/**
 * From now on. The server must answer; the link must be whole now, and at the check.
 * @param whole whether each datagram is one frame: then the counts must be equal. Of fragments one that is lost is at most
 * a datagram lost, and so is one that is overtaken by more than 64 (net.ipv4.ipfrag_max_dist); none doubles a datagram.
 */
export async function watchLink(link: RoughLink, service: string, whole = true): Promise<LinkWatch> {
  const counted = await askCount(service);
  const [inBefore, outBefore] = [link.counts('in', 'requests'), link.counts('out', 'requests')];
  return {
    async check({ sent, answered, duplicated, wrong, receiveDrops }) {
      const processed = (await askCount(service)) - counted - 1;
      const since = (now: Counts, before: Counts) => ({
        lost: now.lost - before.lost,
        duplicated: now.duplicated - before.duplicated,
        reordered: now.reordered - before.reordered,
      });
      const requests = since(link.counts('in', 'requests'), inBefore);
      const answers = since(link.counts('out', 'requests'), outBefore);
      const seen = JSON.stringify({ sent, receiveDrops, processed, answered, duplicated, requests, answers });
      assert.equal(wrong, 0);
      if (whole) {
        assert.equal(processed, sent - requests.lost + requests.duplicated, `requests processed: ${seen}`);
        assert.equal(answered + duplicated, processed - answers.lost + answers.duplicated, `answers: ${seen}`);
        return;
      }
      assert.equal(duplicated, 0, seen);
      const [asked, told] = [requests, answers].map(({ lost, reordered }) => lost + reordered) as [number, number];
      assert.ok(processed <= sent && processed >= sent - asked, `requests processed: ${seen}`);
      assert.ok(answered <= processed && answered >= processed - told, `answers: ${seen}`);
    },
  };
}
