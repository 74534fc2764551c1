import type { MessageInitShape } from '@bufbuild/protobuf';
import type { TakeOverResponseSchema } from '../../api/gen/comicran_pb.ts';
import type { TakenOverHere } from './kept-copy.ts';

export function takeoverMessage(taken: TakenOverHere): MessageInitShape<typeof TakeOverResponseSchema> {
  const { fromVm, toVm, epoch, gapMicros, replayed, compared, released, mayRepeat } = taken;
  return {
    ...{ fromVm, toVm, epoch, gapUs: BigInt(gapMicros) },
    ...{ inputsReplayed: BigInt(replayed), outputsCompared: BigInt(compared) },
    ...{ outputsReleased: BigInt(released), mayRepeat: BigInt(mayRepeat) },
  };
}
