// Keeps more values than it is given registers: what the build must refuse.
__global__ void SpillingKernel(float* x) {
  constexpr int kValues = 64;
  float value[kValues];
#pragma unroll
  for (int i = 0; i < kValues; ++i) value[i] = x[i * blockDim.x + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    x[(kValues - 1 - i) * blockDim.x + threadIdx.x] = value[i] * value[kValues - 1 - i];
  }
}
