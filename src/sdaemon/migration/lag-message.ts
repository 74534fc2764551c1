import { create } from '@bufbuild/protobuf';
import { type Lag, LagSchema } from '../../api/gen/comicran_pb.ts';
import type { JobProgress } from './job.ts';

export const lagMessage = ({ inputs, outputs }: NonNullable<JobProgress['lag']>): Lag =>
  create(LagSchema, { inputs: BigInt(inputs), outputs: BigInt(outputs) });
