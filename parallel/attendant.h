// What looks after a rank's exchanges while a kernel computes.
#pragma once

#include <exception>

#include "kernels/base/ops.h"
#include "parallel/communicator.h"

namespace annulus::parallel {

// A kernel cannot be left halfway: what fails meanwhile is thrown by Finish.
class Attendant {
 public:
  // `context` must outlive this, and this the kernels that it attends to.
  explicit Attendant(Communicator& context) : context_(context) {}
  Attendant(const Attendant&) = delete;
  Attendant& operator=(const Attendant&) = delete;

  kernels::Meanwhile meanwhile() {
    return [this]() noexcept {
      if (failure_) return;
      try {
        context_.Progress();
      } catch (...) {
        failure_ = std::current_exception();
      }
    };
  }
  void Finish() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  Communicator& context_;
  std::exception_ptr failure_;
};

}  // namespace annulus::parallel
