// Stands in for CUDA's header of this name: element types as its libraries name them.
#pragma once

enum cudaDataType_t { CUDA_R_32F = 0, CUDA_R_16F = 2, CUDA_R_16BF = 14, CUDA_R_32I = 10 };
using cudaDataType = cudaDataType_t;
