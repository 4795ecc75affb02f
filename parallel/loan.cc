#include "parallel/loan.h"

#include "kernels/base/error.h"
#include "parallel/communicator.h"

namespace annulus::parallel {

kernels::ConstView Loan::Open() {
  if (open_) return block_;
  Check(operation_ != nullptr, "a loan that was never made, or that is over, is opened");
  block_.data = owner_->OpenLoan(*operation_);
  open_ = true;
  Observer* observer = owner_->observer();
  if (arrival_ && observer != nullptr) {
    observer->OnReceive(*arrival_, std::chrono::steady_clock::now());
  }
  return block_;
}

void Loan::Return() {
  if (!operation_) return;
  Check(open_, "a block is returned before it was read");
  const std::unique_ptr<Operation> operation = std::move(operation_);
  operation->Return();
}

}  // namespace annulus::parallel
