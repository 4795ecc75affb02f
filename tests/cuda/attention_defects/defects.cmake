# Copies and barriers of a block.
annulus_attention_defect(no_barrier_before_a_tile mma race mma_forward.cu
  FROM "__syncthreads();  // this tile" TO "// this tile"
  EXPECT "race|async")
annulus_attention_defect(copies_waited_for_too_few mma plain mma_forward.cu
  FROM "ptx::CpAsyncWait<0>()" TO "ptx::CpAsyncWait<1>()"
  EXPECT "wrong results")
annulus_attention_defect(copies_not_committed mma plain mma_backward_keys.cu
  FROM "start(next, stage ^ 1);\n      ptx::CpAsyncCommit();" TO "start(next, stage ^ 1);"
  EXPECT "wrong results|async")
annulus_attention_defect(copy_past_the_end mma race mma_tile.h UNIT mma_forward.cu
  FROM "row < from.rows && chunk" TO "chunk"
  EXPECT "memory")
annulus_attention_defect(store_past_the_end mma race online_softmax.h UNIT mma_forward.cu
  FROM "if (row >= block.rows || column >= block.dim) return;" TO ""
  EXPECT "memory|race")
annulus_attention_defect(no_barrier_between_chunks generic race generic_tile.h UNIT generic_forward.cu
  FROM "AddProducts<kGenericChunk>(acc, room, other);\n    __syncthreads();"
  TO "AddProducts<kGenericChunk>(acc, room, other);"
  EXPECT "race")
annulus_attention_defect(row_written_while_read generic race generic_forward.cu
  FROM "if (keys.visibility == Visibility::kNone && p.outputs.lse == nullptr) return;" TO ""
  EXPECT "race")

# Lanes of a warp.
annulus_attention_defect(permutation_forgotten mma plain mma_tile.h UNIT mma_backward_queries.cu
  FROM "return tile + ChunkOffset<kDim>(row, half)"
  TO "return tile + row * kDim * 2 + half * 16"
  EXPECT "wrong results")
annulus_attention_defect(operand_not_transposed mma plain mma_tile.h UNIT mma_forward.cu
  FROM "ptx::LdMatrixX4Trans(other" TO "ptx::LdMatrixX4(other"
  EXPECT "wrong results")
annulus_attention_defect(maximum_of_half_a_quad mma plain online_softmax.h UNIT mma_forward.cu
  FROM "top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));" TO ""
  EXPECT "wrong results")
annulus_attention_defect(lanes_leave_before_a_shuffle mma plain online_softmax.h UNIT mma_forward.cu
  FROM "const float total = softmax.Total(half);\n      if (row >= block.rows || lane.column != 0) continue;"
  TO "if (row >= block.rows || lane.column != 0) continue;\n      const float total = softmax.Total(half);"
  EXPECT "divergence|deadlock")

# Masks and factors.
annulus_attention_defect(own_key_masked mma plain visible.h UNIT mma_forward.cu
  FROM "default:\n      return {0, position};" TO "default:\n      return {0, position - 1};"
  EXPECT "wrong results")
annulus_attention_defect(tile_skipped mma plain visible.h UNIT mma_backward_keys.cu
  FROM "first > bounds.high_last" TO "first >= bounds.low_last"
  EXPECT "wrong results")
annulus_attention_defect(tile_taken_for_whole hopper plain visible.h UNIT hopper_forward.cu
  FROM "bounds.high_first <= first && last <= bounds.low_last"
  TO "bounds.high_first <= first && last <= bounds.high_last"
  EXPECT "wrong results")
annulus_attention_defect(outputs_not_rescaled mma plain mma_forward.cu
  FROM "ScaleRows(state.out, factor);" TO ""
  EXPECT "wrong results")

# What the last fold of a pass writes out.
annulus_attention_defect(tile_without_keys_not_finished mma plain mma_forward.cu
  FROM "if (!any && !last) return;" TO "if (!any) return;"
  EXPECT "wrong results")
annulus_attention_defect(tile_without_keys_not_finished_on_hopper hopper plain hopper_forward.cu
  FROM "if (!any && !last) return;" TO "if (!any) return;"
  EXPECT "wrong results")
annulus_attention_defect(tile_without_keys_not_finished_by_fmas generic plain generic_forward.cu
  FROM "if (keys.visibility == Visibility::kNone && p.outputs.lse == nullptr) return;"
  TO "if (keys.visibility == Visibility::kNone) return;"
  EXPECT "wrong results")
annulus_attention_defect(row_without_keys_not_zeroed mma plain row_end.h UNIT mma_forward.cu
  FROM "any(max != -INFINITY)" TO "any(true)"
  EXPECT "wrong results")
annulus_attention_defect(sum_of_a_quarter_of_a_row hopper plain online_softmax.h UNIT hopper_forward.cu
  FROM "softmax.Total(0)}" TO "softmax.sum[0]}"
  EXPECT "wrong results")
annulus_attention_defect(outputs_past_the_end mma race online_softmax.h UNIT mma_forward.cu
  FROM "if (row >= block.rows || column >= block.dim) return;\n      *reinterpret_cast<uint32_t*>"
  TO "*reinterpret_cast<uint32_t*>"
  EXPECT "memory|race")
annulus_attention_defect(outputs_of_the_next_head hopper plain online_softmax.h UNIT hopper_forward.cu
  FROM "static_cast<int64_t>(head) * p.shape.head_dim;" TO "static_cast<int64_t>(head + 1) * p.shape.head_dim;"
  EXPECT "wrong results|memory")

annulus_attention_defect(delta_forgotten generic plain generic_backward.cu
  FROM "(gradients[i][j] - delta)" TO "gradients[i][j]"
  EXPECT "wrong results")
annulus_attention_defect(gradient_not_scaled mma plain mma_backward_keys.cu
  FROM "dk, p.shape.scale, p.dk" TO "dk, 1, p.dk"
  EXPECT "wrong results")

annulus_attention_defect(sequences_taken_to_be_adjacent mma plain mma_tile.h UNIT mma_forward.cu
  FROM "return {batch, s.key_rows, s.kv_heads" TO "return {batch, s.key_tokens, s.kv_heads"
  EXPECT "wrong results|memory")

# Hopper's pipeline.
annulus_attention_defect(barriers_not_seen_by_all hopper race hopper_forward.cu
  FROM "    InitBarriers<Shape>(notes);\n  }\n  __syncthreads();"
  TO "    InitBarriers<Shape>(notes);\n  }"
  EXPECT "race|barrier")
annulus_attention_defect(scores_read_too_early hopper plain hopper_forward.cu
  FROM "ptx::WgmmaWait<1>(Flat(scores));" TO "ptx::WgmmaWait<2>(Flat(scores));"
  EXPECT "wrong results|async")
annulus_attention_defect(values_released_too_early hopper race hopper_forward.cu
  FROM "ptx::WgmmaWait<0>(Flat(state.out));\n    Release(notes.empty_v[last.stage]);"
  TO "Release(notes.empty_v[last.stage]);\n    ptx::WgmmaWait<0>(Flat(state.out));"
  EXPECT "race|async")
annulus_attention_defect(stage_not_waited_for hopper race hopper_forward.cu
  FROM "ptx::MbarrierWait(At(notes.empty_k[at.stage]), at.round ^ 1);" TO ""
  EXPECT "race|async|barrier")
annulus_attention_defect(queries_not_waited_for hopper plain hopper_forward.cu
  FROM "ptx::MbarrierWait(At(notes.full_q), 0);" TO ""
  EXPECT "wrong results|async")
annulus_attention_defect(bytes_expected_twice hopper plain hopper_forward.cu
  FROM "ptx::MbarrierArriveExpect(full_v, Shape::kKeyBytes);"
  TO "ptx::MbarrierArriveExpect(full_v, 2 * Shape::kKeyBytes);"
  EXPECT "deadlock")
annulus_attention_defect(turn_not_given hopper plain hopper_forward.cu
  FROM "    turns.Give();\n" TO ""
  EXPECT "deadlock")
annulus_attention_defect(no_fence_before_products hopper plain hopper_backward.cu
  FROM "ptx::WgmmaFence();\n    StartAddTimesTile" TO "StartAddTimesTile"
  EXPECT "async")
annulus_attention_defect(boxes_apart_by_too_little hopper plain hopper_tile.h
  UNIT hopper_backward.cu
  FROM "AcrossRows(b + k * 16 * kBoxRowBytes, kRows * kBoxRowBytes)"
  TO "AcrossRows(b + k * 16 * kBoxRowBytes, 64)"
  EXPECT "wrong results|memory")
annulus_attention_defect(rows_of_queries_not_ordered hopper race hopper_backward.cu
  FROM "__syncwarp();  // the leader" TO "// the leader"
  EXPECT "race")

# Gradients of queries: scores' gradients meet in shared memory, blocks in the device's.
annulus_attention_defect(score_gradients_not_fenced hopper race hopper_backward.cu
  FROM "ptx::FenceProxyAsync();\n    ptx::WgmmaFence();" TO "ptx::WgmmaFence();"
  EXPECT "race")
annulus_attention_defect(consumers_do_not_meet hopper race hopper_backward.cu
  FROM "ptx::BarSync(kConsumersMeet, kWarpgroup * Shape::kConsumers);" TO ""
  EXPECT "race")
annulus_attention_defect(sums_not_fenced hopper race hopper_query_sums.h UNIT hopper_backward.cu
  FROM "room.base);\n    ptx::FenceProxyAsync();" TO "room.base);"
  EXPECT "race")
annulus_attention_defect(sums_overwritten hopper race hopper_query_sums.h UNIT hopper_backward.cu
  FROM "if (tile > 0) {" TO "if (false) {"
  EXPECT "race")
annulus_attention_defect(turn_not_waited_for hopper race hopper_query_sums.h UNIT hopper_backward.cu
  FROM "ptx::WaitAcquire(p.turns.came + note.row, turn.awaited);" TO ""
  EXPECT "race")
annulus_attention_defect(turn_passed_on_too_early hopper race hopper_query_sums.h
  UNIT hopper_backward.cu
  FROM "ptx::BulkWait<0>();\n    __syncwarp();\n    if (ptx::LaneIndex() == 0) ptx::StoreRelease(p.turns.came + note.row, note.left);"
  TO "if (ptx::LaneIndex() == 0) ptx::StoreRelease(p.turns.came + note.row, note.left);\n    ptx::BulkWait<0>();"
  EXPECT "race")
annulus_attention_defect(turns_not_at_rest_after_a_fold hopper plain turns.h UNIT hopper_backward.cu
  FROM "first < key_tile ? above + 1 : 0" TO "above + 1"
  EXPECT "deadlock")
annulus_attention_defect(first_keys_first hopper plain turns.h UNIT hopper_backward.cu
  FROM "draws.key_tiles - 1 - in_group / heads" TO "in_group / heads"
  EXPECT "deadlock")

# Kernels as they are: nothing is wrong.
annulus_attention_defect(none_of_generic generic race generic_forward.cu
  FROM "namespace {" TO "namespace {"
  EXPECT "^$")
annulus_attention_defect(none_of_mma mma race mma_forward.cu
  FROM "namespace {" TO "namespace {"
  EXPECT "^$")
annulus_attention_defect(none_of_hopper hopper race hopper_forward.cu
  FROM "namespace {" TO "namespace {"
  EXPECT "^$")
annulus_attention_defect(none_of_hopper_backward hopper race hopper_backward.cu
  FROM "namespace {" TO "namespace {"
  EXPECT "^$")
