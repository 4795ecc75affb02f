# What the communicator over NCCL is made of, in absolute paths: annulus_nccl_sources. It needs the
# headers of NCCL and CUDA, and kernels/cuda.
set(annulus_nccl_sources
  nccl_all_reduce.cc
  nccl_comm.cc
  nccl_communicator.cc
  nccl_rank.cc
  nccl_sum.cu)
list(TRANSFORM annulus_nccl_sources PREPEND "${CMAKE_CURRENT_LIST_DIR}/")
