# What the kernel table of CUDA is made of, in absolute paths: annulus_cuda_sources. Headers of CUDA
# and cuBLASLt are all it needs beyond the project's own.
set(annulus_cuda_sources
  adamw.cu
  attention/attention.cc
  attention/generic_backward.cu
  attention/generic_forward.cu
  attention/geometry.cc
  attention/hopper_backward.cu
  attention/hopper_forward.cu
  attention/mma_backward_keys.cu
  attention/mma_backward_queries.cu
  attention/mma_forward.cu
  attention/row_passes.cu
  attention/tensor_map.cc
  cross_entropy.cu
  device.cc
  device_memory.cc
  embedding.cu
  host_copies.cc
  lt_handles.cc
  lt_products.cc
  norm.cu
  pointwise.cu
  reduce.cu
  rope.cu
  softmax.cu
  strided.cu
  table/cuda_kernel_table.cc
  table/cuda_table.cc
  table/table_device.cc)
list(TRANSFORM annulus_cuda_sources PREPEND "${CMAKE_CURRENT_LIST_DIR}/")

# Those of them whose instructions Hopper alone has (sm_90a).
set(annulus_cuda_hopper_sources ${annulus_cuda_sources})
list(FILTER annulus_cuda_hopper_sources INCLUDE REGEX "/hopper_[a-z_]*\\.cu$")
# All that attention needs, to be built without the rest.
set(annulus_cuda_attention_sources ${annulus_cuda_sources})
list(FILTER annulus_cuda_attention_sources INCLUDE REGEX "/attention/|/device")
